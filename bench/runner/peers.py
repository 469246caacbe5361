"""The proxies that can be measured, each started from scratch with a configuration of its own.

Nothing of the machine is used but the program: no service, no file under /etc.
"""

import os
import pwd
import shutil
import socket
import subprocess
import time


class Unavailable(Exception):
    """A proxy cannot be measured here; the text says why and what to do."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _first_line(command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    text = (result.stdout or result.stderr).strip()
    return text.splitlines()[0] if text else "unknown"


def _find(program, package):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Unavailable(f"{program} is not installed: apt-get install --no-install-recommends {package}")
    return path


def _write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


class Direct:
    """The client straight to the target: what the machine itself can do."""

    name = "direct"

    def version(self):
        return "no proxy"

    def start(self, workspace):
        return None, None


class Oceanid:
    name = "oceanid"

    def __init__(self, program, workers="auto"):
        self.program = os.path.abspath(program)
        self.workers = workers
        if not os.access(self.program, os.X_OK):
            raise Unavailable(
                f"our own program is missing: {self.program}\n"
                "build it:   cmake --preset release && cmake --build --preset release"
                " --target oceanid oceanid-load\n"
                "or name it: bench/run --oceanid PATH   (--oceanid none measures the peers alone)")

    def version(self):
        return _first_line([self.program, "--version"])

    def start(self, workspace):
        folder = workspace.folder(f"oceanid-{free_port()}")
        port, admin = free_port(), free_port()
        config = _write(folder, "oceanid.yaml", f"""\
node: bench
state_dir: {folder}/state
run_dir: {folder}/run
log: {{ level: warn, format: json, access: false }}
admin: {{ bind: "127.0.0.1:{admin}" }}
proxy:
  workers: {self.workers}
  listeners:
    - {{ bind: "127.0.0.1:{port}" }}
  clients: [127.0.0.0/8]
  connect_ports: []
  guard: {{ allow: [127.0.0.0/8, 127.0.0.1] }}
  timeouts: {{ drain: 1s }}
""")
        environment = dict(os.environ, XDG_STATE_HOME=f"{folder}/xdg-state", XDG_RUNTIME_DIR=f"{folder}/xdg-run")
        for name in ("xdg-state", "xdg-run"):
            os.mkdir(os.path.join(folder, name), 0o700)
        program = workspace.start(self.name, [self.program, "run", "-c", config], cwd=folder, env=environment)
        return program, port


class Squid:
    """-N: one process in the foreground, as the package's own test and most installations run it."""

    name = "squid"

    def __init__(self):
        self.program = _find("squid", "squid")

    def version(self):
        return _first_line([self.program, "-v"])

    def start(self, workspace):
        port = free_port()
        folder = workspace.folder(f"squid-{port}")
        if os.geteuid() == 0:
            account = pwd.getpwnam("proxy")  # squid's own default when it is started by root
            os.chown(folder, account.pw_uid, account.pw_gid)
        config = _write(folder, "squid.conf", f"""\
http_port 127.0.0.1:{port}
visible_hostname bench.invalid
http_access allow all
cache deny all
access_log none
cache_log {folder}/cache.log
cache_store_log none
coredump_dir {folder}
pid_filename none
pinger_enable off
client_db off
max_filedescriptors {_files_limit()}
shutdown_lifetime 0 seconds
dns_nameservers 127.0.0.1
""")
        program = workspace.start(self.name, [self.program, "-N", "-f", config], cwd=folder)
        return program, port


class Tinyproxy:
    name = "tinyproxy"

    def __init__(self):
        self.program = _find("tinyproxy", "tinyproxy-bin")

    def version(self):
        return _first_line([self.program, "-v"])

    def start(self, workspace):
        port = free_port()
        folder = workspace.folder(f"tinyproxy-{port}")
        account = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        config = _write(folder, "tinyproxy.conf", f"""\
{account}Listen 127.0.0.1
Port {port}
Timeout 600
MaxClients 20000
LogLevel Critical
""")
        program = workspace.start(self.name, [self.program, "-d", "-c", config], cwd=folder)
        return program, port


PEERS = {"squid": Squid, "tinyproxy": Tinyproxy}


def _files_limit():
    import resource
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1_048_576)


def wait_until_it_proxies(program, port, target, patience=20.0):
    """Until one CONNECT tunnel carries 64 bytes there and back. Raises with the program's last words."""
    deadline = time.monotonic() + patience
    problem = "not tried"
    while time.monotonic() < deadline:
        if not program.is_alive():
            problem = f"it ended with status {program.process.returncode}"
            break
        try:
            _one_tunnel(port, target)
            return
        except OSError as error:
            problem = str(error)
            time.sleep(0.05)
    raise Unavailable(f"{program.name} does not proxy: {problem}\n{program.log_tail()}")


def _one_tunnel(port, target):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = client.recv(4096)
            if not piece:
                raise OSError(f"closed after {answer[:200]!r}")
            answer += piece
        if answer.split()[1:2] != [b"200"]:
            raise OSError(f"answered {answer.splitlines()[0].decode(errors='replace')}")
        ping = b"E" * 64
        client.sendall(ping)
        echo = b""
        while len(echo) < len(ping):
            piece = client.recv(len(ping) - len(echo))
            if not piece:
                raise OSError("the tunnel was closed")
            echo += piece
        if echo != ping:
            raise OSError("the echo differs")
