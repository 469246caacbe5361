"""Namespaces, mounts and processes, through the kernel's own calls (Python 3.11 has no os.setns)."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
MNT_DETACH = 2
NETNS_DIR = "/run/netns"

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something a person can act on; printed without a traceback."""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def setns(path: str, kind: int) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, kind), f"setns {path}")
    finally:
        os.close(fd)


def mount(source: str, target: str, fstype: str | None, flags: int = 0, data: str | None = None) -> None:
    encode = lambda text: text.encode() if text is not None else None
    _check(_libc.mount(encode(source), encode(target), encode(fstype), flags, encode(data)), f"mount {target}")


def unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def mounts_below(folder: str) -> list[str]:
    """Mount points strictly below `folder`, deepest first."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = line.split()[4].replace("\\040", " ")
            if point.startswith(folder.rstrip("/") + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


def is_mount(path: str) -> bool:
    return path in mounts_below(os.path.dirname(path))


def enter_net(namespace: str) -> None:
    setns(f"{NETNS_DIR}/{namespace}", CLONE_NEWNET)


def enter_holder(pid: int) -> None:
    """Moves this process into the holder's mount and network namespaces.

    Joining a mount namespace sets the root to that namespace's, which in a chroot is a way out of it: so the
    holder's own root is opened before and taken after.
    """
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    net = f"/proc/{pid}/ns/net"
    net_fd = os.open(net, os.O_RDONLY | os.O_CLOEXEC)
    setns(f"/proc/{pid}/ns/mnt", CLONE_NEWNS)
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")
    _check(_libc.setns(net_fd, CLONE_NEWNET), f"setns {net}")
    os.close(root)
    os.close(net_fd)


def unshare_mounts() -> None:
    """A mount namespace of our own that still sees unmounts outside, so that it pins nothing for ever.

    In a chroot "/" is often no mount point and its propagation cannot be changed by that name; without the change
    our mounts would spread to the machine. Joining one's own namespace resets the root to the real one: change it
    there, then come back.
    """
    _check(_libc.unshare(CLONE_NEWNS), "unshare")
    root = os.open("/", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        setns("/proc/self/ns/mnt", CLONE_NEWNS)
        mount("none", "/", None, MS_REC | MS_SLAVE)
        os.fchdir(root)
        os.chroot(".")
        os.chdir("/")
    finally:
        os.close(root)


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat: tells a process from a later one with the same pid. None: gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Process:
    """A recorded process: pid and start time, so that a reused pid is never signalled."""

    def __init__(self, pid: int, started: str | None = None) -> None:
        self.pid = pid
        self.started = started if started is not None else start_time(pid)

    def alive(self) -> bool:
        return self.started is not None and start_time(self.pid) == self.started

    def send(self, number: int) -> None:
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait_gone(self, seconds: float) -> bool:
        return wait_until(lambda: not self.alive(), seconds)

    def record(self) -> list:
        return [self.pid, self.started]


def reap() -> None:
    """Collects our own dead children, so that they do not look alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait_until(condition: Callable[[], bool], seconds: float, step: float = 0.02) -> bool:
    end = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(step)


def spawn(argv: list[str], log: str, enter: Callable[[], None] | None = None, user: str | None = None,
          environment: dict[str, str] | None = None, cwd: str = "/") -> Process:
    """Starts a background process in a session of its own; its output goes to `log` (appended)."""
    with open(log, "ab", buffering=0) as out:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, start_new_session=True,
            preexec_fn=_preexec(enter, user), env=environment, close_fds=True)
    _children.append(child)
    return Process(child.pid)


_children: list[subprocess.Popen] = []  # kept so that Python does not warn about children that outlive us


def _preexec(enter: Callable[[], None] | None, user: str | None) -> Callable[[], None]:
    def prepare() -> None:
        if enter is not None:
            enter()
        if user is not None:
            become(user)
    return prepare


def become(user: str) -> None:
    import pwd
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def run(argv: list[str], stdin: str | None = None, enter: Callable[[], None] | None = None, user: str | None = None,
        environment: dict[str, str] | None = None, check: bool = True, cwd: str | None = None) -> str:
    """Runs to the end and returns its output; a failure carries the command and what it said."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, cwd=cwd, env=environment,
                              preexec_fn=_preexec(enter, user) if enter or user else None)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is missing: run deploy/install-packages lab") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {said}")
    return done.stdout


def batch(namespace: str, text: str, *options: str, program: str = "ip", check: bool = True) -> None:
    """`ip -batch` in a namespace. Not `ip -n`, which wants a root that is a mount point: a chroot has none."""
    run([program, *options, "-batch", "-"], stdin=text, enter=lambda: enter_net(namespace), check=check)


class Namespaces:
    """Namespaces by their files, those of the caller left out, kept while this is open.

    A namespace that has ended gives its inode number to the next that is made, and `ip netns exec` makes a mount namespace
    for every command: who looks for processes by number without keeping the namespace finds strangers.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._open: list[int] = []
        for file in files:
            try:
                self._open.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                continue  # ended meanwhile
        self.numbers = {os.fstat(file).st_ino for file in self._open} - {os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("net", "mnt")}

    def __enter__(self) -> "Namespaces":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open:
            os.close(file)


def processes_in(numbers: set[int]) -> list[int]:
    """Every process whose network or mount namespace is one of these (Namespaces.numbers; both kinds are numbered together)."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if any(os.stat(f"/proc/{entry}/ns/{kind}").st_ino in numbers for kind in ("net", "mnt")):
                found.append(int(entry))
        except OSError:
            continue
    return found


def processes_of_sessions(leaders: set[int]) -> list[int]:
    """What recorded processes have started: each leads a session of its own."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) in leaders:
            found.append(int(entry))
    return found


def end_all(pids: Callable[[], Iterable[int]], seconds: float = 5.0) -> None:
    """SIGKILL until nobody is left: a process may fork while we look."""
    def nobody() -> bool:
        left = list(pids())
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        return not left
    if not wait_until(nobody, seconds):
        raise LabError(f"processes that do not end: {' '.join(map(str, pids()))}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
