"""Starting, watching and ending the programs of a run.

Every program is ended by a pid recorded together with its start time, never by name, so a reused
pid is left alone and so is a service of the same name that belongs to the machine.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def _end_with_parent():
    # When the runner itself is killed nobody could end its children. The kernel forgets this for a
    # program that gives up root (squid, tinyproxy): after `kill -9` of the runner those stay.
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stat(pid):
    """(ppid, session, start time, CPU ticks with those of children already waited for), or None."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    return int(fields[1]), int(fields[3]), int(fields[19]), sum(map(int, fields[11:15]))


class Program:
    """A running program with everything it forked."""

    def __init__(self, name, command, log, **options):
        self.name = name
        self.log = log
        with open(log, "ab") as output:
            options.setdefault("stdin", subprocess.DEVNULL)
            options.setdefault("stdout", output)
            self.process = subprocess.Popen(
                command, stderr=output, start_new_session=True, preexec_fn=_end_with_parent, **options)
        self.pid = self.process.pid

    def tree(self):
        """{pid: stat} of the program and its descendants; its session catches re-parented ones."""
        table = {int(name): _stat(name) for name in os.listdir("/proc") if name.isdigit()}
        table = {pid: stat for pid, stat in table.items() if stat}
        found = {pid for pid, stat in table.items() if pid == self.pid or stat[1] == self.pid}
        while True:
            more = {pid for pid, stat in table.items() if stat[0] in found} - found
            if not more:
                return {pid: table[pid] for pid in found}
            found |= more

    def cpu_seconds(self):
        return sum(stat[3] for stat in self.tree().values()) / TICKS

    def memory(self):
        """Sum over the tree: (RSS bytes, PSS bytes, processes, open files)."""
        rss = pss = files = 0
        pids = list(self.tree())
        for pid in pids:
            try:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                    sizes = dict(line.split(":", 1) for line in file if line.startswith(("Rss:", "Pss:")))
                rss += int(sizes["Rss"].split()[0]) * 1024
                pss += int(sizes["Pss"].split()[0]) * 1024
                files += len(os.listdir(f"/proc/{pid}/fd"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended meanwhile
        return rss, pss, len(pids), files

    def is_alive(self):
        return self.process.poll() is None

    def log_tail(self, lines=12):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:]).rstrip()

    def end(self, patience=5.0):
        recorded = {pid: stat[2] for pid, stat in self.tree().items()}
        if self.process.stdin:
            self.process.stdin.close()
        if self.is_alive():
            self.process.terminate()
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                pass
        deadline = time.monotonic() + 1.0
        while self._survivors(recorded) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in self._survivors(recorded):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    @staticmethod
    def _survivors(recorded):
        return [pid for pid, start in recorded.items() if (_stat(pid) or (0, 0, None, 0))[2] == start]


class Workspace:
    """A temporary folder and the programs that live in it; leaving it ends and removes everything."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="oceanid-bench-")
        os.chmod(self.path, 0o755)  # squid and our worker give up root and still read here
        self.programs = []
        self._serial = 0
        return self

    def __exit__(self, *_):
        for program in reversed(self.programs):
            program.end()
        shutil.rmtree(self.path, ignore_errors=True)

    def folder(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path

    def start(self, name, command, **options):
        self._serial += 1
        log = os.path.join(self.folder("log"), f"{name}-{self._serial}.log")
        program = Program(name, command, log, **options)
        self.programs.append(program)
        return program

    def end(self, program):
        program.end()
        self.programs.remove(program)


def machine_ticks():
    """(all, idle) CPU ticks of the machine since boot; what a hypervisor stole counts as not idle."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return sum(fields), fields[3] + fields[4]
