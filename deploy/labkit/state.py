"""Where a lab keeps what it must remember: /run/oceanid-lab/PREFIX, on a tmpfs of its own."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat

from labkit import holders
from labkit.system import NETNS_DIR, LabError, Process, is_mount, mount, unmount

BASE = "/run/oceanid-lab"
MADE = f"{BASE}/.made"  # what we had to make on the machine itself, for as long as any lab is up


class State:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.folder = f"{BASE}/{prefix}"
        self.values: dict = {"processes": {}, "holders": {}, "options": {}, "faults": {}}
        if os.path.exists(self.file):
            with open(self.file, encoding="ascii") as text:
                self.values = json.load(text)

    @property
    def file(self) -> str:
        return f"{self.folder}/state.json"

    @property
    def ca(self) -> str:
        return f"{self.folder}/tls/ca.crt"

    def namespace(self, who: str) -> str:
        return f"{self.prefix}-{who}"

    def log(self, name: str) -> str:
        return f"{self.folder}/log/{name}.log"

    def exists(self) -> bool:
        return os.path.exists(self.file)

    def require(self) -> None:
        if not self.exists():
            raise LabError(f"no lab named {self.prefix} is up: deploy/lab --name {self.prefix} up")

    def save(self) -> None:
        temporary = f"{self.file}.new"
        with open(temporary, "w", encoding="ascii") as out:
            json.dump(self.values, out, indent=1)
        os.replace(temporary, self.file)

    def create(self) -> None:
        os.makedirs(self.folder, exist_ok=True)
        if not is_mount(self.folder):
            try:
                mount("tmpfs", self.folder, "tmpfs", 0, "mode=755")
            except OSError:
                pass  # a plain folder serves as well, only slower
        for name in ("log", "tls", "repo"):
            os.makedirs(f"{self.folder}/{name}", exist_ok=True)
        self.save()

    def remove(self) -> None:
        if is_mount(self.folder):
            unmount(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def remember(self, name: str, process: Process) -> None:
        self.values["processes"][name] = process.record()
        self.save()

    def process(self, name: str) -> Process | None:
        record = self.values["processes"].get(name)
        return Process(*record) if record else None

    def holder(self, who: str) -> int:
        record = self.values["holders"].get(who)
        if record is None:
            raise LabError(f"nobody is named {who}: try one of {' '.join(sorted(self.values['holders']))}")
        process = Process(*record)
        if not process.alive():
            raise LabError(f"the holder of {who} is gone: take the lab down and up again")
        return process.pid


def others(prefix: str) -> list[str]:
    try:
        return [name for name in os.listdir(BASE) if not name.startswith(".") and name != prefix]
    except FileNotFoundError:
        return []


class Lock:
    """One `up` or `down` at a time on this machine, since labs share a few mount points."""

    def __enter__(self) -> "Lock":
        try:
            os.makedirs(BASE, exist_ok=True)
        except OSError as error:
            raise LabError(f"cannot write below /run: {error.strerror}; the lab keeps its state there") from error
        while True:
            try:
                self.fd = os.open(f"{BASE}/.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(BASE, exist_ok=True)
                continue
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            try:  # the last `down` removes the file: then ours is a lock on nothing
                if os.stat(f"{BASE}/.lock").st_ino == os.fstat(self.fd).st_ino:
                    return self
            except FileNotFoundError:
                os.makedirs(BASE, exist_ok=True)
            os.close(self.fd)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def make_mount_points() -> None:
    """Call under Lock. Existing files stay untouched; what is made here is recorded, and removed by the last lab."""
    made = []
    if not os.path.exists(NETNS_DIR):
        made.append(NETNS_DIR)
    for folder in holders.NODE_FOLDERS:
        if not os.path.isdir(folder):
            os.makedirs(folder)
            made.append(folder)
    for path in holders.NODE_FILES:
        real = os.path.realpath(path)
        if not os.path.exists(real) and not real.startswith("/run/"):
            open(real, "w", encoding="ascii").close()
            made.append(real)
    if not os.path.exists("/dev/net/tun") and _kernel_has_tun():
        os.makedirs("/dev/net", exist_ok=True)
        os.mknod("/dev/net/tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
        made.append("/dev/net/tun")
    with open(MADE, "a", encoding="ascii") as out:
        out.writelines(f"{path}\n" for path in made)


def remove_mount_points(prefix: str) -> None:
    """Call under Lock, after the lab is gone. Removes only what labs made, and only if it is still empty."""
    if others(prefix):
        return
    made = []
    if os.path.exists(MADE):
        with open(MADE, encoding="ascii") as lines:
            made = list(dict.fromkeys(lines.read().split()))
    for path in made:
        if path == NETNS_DIR and os.path.isdir(path) and not os.listdir(path) and is_mount(path):
            unmount(path)
        try:
            if os.path.isdir(path):
                os.rmdir(path)
            elif path == "/dev/net/tun" or os.path.getsize(path) == 0:
                os.unlink(path)
        except OSError:
            pass  # somebody uses it by now: theirs to keep
    shutil.rmtree(BASE, ignore_errors=True)


def _kernel_has_tun() -> bool:
    with open("/proc/misc", encoding="ascii") as lines:
        return any(line.split()[-1] == "tun" for line in lines)
