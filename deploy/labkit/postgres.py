"""db.example.test: Debian's PostgreSQL in the `database` namespace, for the exits' addresses only."""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import signal

from labkit import plan
from labkit.system import LabError, Process, enter_net, run, spawn, wait_until

USER = DATABASE = "warehouse"
ACCOUNT = "postgres"


def program_folder() -> str:
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    if not found:
        raise LabError("PostgreSQL is missing: run deploy/install-packages lab")
    return os.path.dirname(found[-1])


def begin_initdb(folder: str) -> Process:
    """Starts initdb in the background; it takes a second that the network's building can use."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    shutil.chown(folder, ACCOUNT, ACCOUNT)
    argv = [f"{program_folder()}/initdb", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C",
            "-A", "scram-sha-256", "--auth-local=peer", "-U", ACCOUNT, "-D", f"{folder}/data"]
    open(f"{folder}/../log/initdb.log", "w", encoding="ascii").close()
    return spawn(argv, f"{folder}/../log/initdb.log", user=ACCOUNT)


def start(folder: str, certificate: str, key: str, namespace: str, log: str, initdb: Process) -> tuple[Process, str]:
    """Waits for initdb, then starts the server; returns it and the password of USER."""
    data = f"{folder}/data"
    if not initdb.wait_gone(60) or not os.path.exists(f"{data}/PG_VERSION"):
        raise LabError(f"initdb failed: see {log.replace('postgres.log', 'initdb.log')}")
    for source, name in ((certificate, "server.crt"), (key, "server.key")):
        shutil.copy(source, f"{data}/{name}")
        shutil.chown(f"{data}/{name}", ACCOUNT, ACCOUNT)
        os.chmod(f"{data}/{name}", 0o600)
    with open(f"{data}/pg_hba.conf", "w", encoding="ascii") as out:
        out.write(_hba())
    password = secrets.token_urlsafe(15)
    initial = (f"CREATE ROLE {USER} LOGIN PASSWORD '{password}';\nCREATE DATABASE {DATABASE} OWNER {USER};\n")
    run([f"{program_folder()}/postgres", "--single", "-D", data, "postgres"], stdin=initial, user=ACCOUNT, cwd=folder)
    settings = {
        "listen_addresses": f"{plan.DATABASE.address4},{plan.DATABASE.address6}", "port": str(plan.DATABASE_PORT),
        "ssl": "on", "unix_socket_directories": folder, "fsync": "off", "synchronous_commit": "off",
        "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "300",
        # Nothing in /dev/shm that a killed server would leave behind.
        "dynamic_shared_memory_type": "mmap", "log_connections": "on", "autovacuum": "off",
        "max_wal_size": "256MB",
    }
    argv = [f"{program_folder()}/postgres", "-D", data]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    process = spawn(argv, log, enter=lambda: enter_net(namespace), user=ACCOUNT, cwd=folder)
    return process, password


def await_ready(folder: str, process: Process, log: str) -> None:
    ready = f"{folder}/data/postmaster.pid"

    def accepting() -> bool:
        try:
            with open(ready, encoding="ascii") as lines:
                return "ready" in lines.read()
        except OSError:
            return False
    if not wait_until(lambda: accepting() or not process.alive(), 30) or not process.alive():
        raise LabError(f"PostgreSQL did not start: see {log}")


def stop(process: Process) -> None:
    """In order: the server's System V shared memory outlives one that is killed."""
    process.send(signal.SIGQUIT)
    process.wait_gone(5)


def _hba() -> str:
    lines = [f"local all {ACCOUNT} peer"]
    for node in plan.EXITS.values():
        lines.append(f"hostssl all all {node.address4}/32 scram-sha-256")
        lines.append(f"hostssl all all {node.address6}/128 scram-sha-256")
    return "\n".join(lines) + "\n"
