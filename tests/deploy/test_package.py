"""The Debian package, installed, upgraded and removed by dpkg on a copy of this machine that nobody else sees: an overlay over its
root, in namespaces of its own. No systemd runs in there; what the scripts ask of it is read."""
import os
import pathlib
import re
import stat
import subprocess
import time

import pytest

CONFIG = """
node: worker
tunnel: { address: [10.99.0.3], peers: [{ name: far, public_key: "c3R5eC1leGFtcGxlLWtleS1yZXBsYWNlLW1lLTEyMzQ=", address: [10.99.0.1],
  networks: [10.42.0.0/24], endpoint: "203.0.113.10:51820" }] }
exits: [{ name: far, peer: far }]
routing: { sources: [10.42.1.0/24], interfaces: [cni0] }
"""
OVERLAY = """
set -e
mount -t tmpfs t {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay o -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
"""
MACHINE = OVERLAY + """
for each in proc dev sys; do mount --rbind /$each {folder}/root/$each; done
mount -t proc p {folder}/root/proc
mount -t tmpfs t {folder}/root/run
ip link set lo up
exec chroot {folder}/root sh -c "cat >/new.deb; exec sleep infinity" <{first}
"""


def build(root, program, folder, version):
    done = subprocess.run([str(root / "deploy/debian-package"), program, str(folder)], text=True, capture_output=True, timeout=120,
                          env={**os.environ, "VERSION": version})
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


@pytest.fixture(scope="module")
def package(root, oceanid, tmp_path_factory):
    return build(root, oceanid, tmp_path_factory.mktemp("package"), "0.1.0")


@pytest.fixture
def machine(tmp_path, package):
    """A shell on the copy: command -> CompletedProcess."""
    if os.getuid() != 0:
        pytest.skip("needs root, for namespaces")
    folder = tmp_path / "machine"
    folder.mkdir()
    tried = subprocess.run(["unshare", "-m", "bash", "-c", OVERLAY.format(folder=folder)], text=True, capture_output=True)
    if tried.returncode != 0:
        pytest.skip(f"no overlay over this machine's root: {tried.stderr.strip()}")
    holder = subprocess.Popen(["unshare", "-m", "-n", "-p", "-f", "--kill-child", "bash", "-c", MACHINE.format(folder=folder, first=package)],
                              text=True, stderr=subprocess.PIPE)
    init = None
    end = time.monotonic() + 20
    while time.monotonic() < end:
        children = subprocess.run(["pgrep", "-P", str(holder.pid), "-x", "sleep"], text=True, capture_output=True).stdout.split()
        if children or holder.poll() is not None:
            init = children[0] if children else None
            break
        time.sleep(0.05)
    if init is None:
        holder.kill()
        pytest.fail(f"the copy of this machine did not come up: {holder.communicate()[1].strip()}")

    def run(command, check=True, stdin=None):
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(["nsenter", "-t", init, "-m", "-n", "-p", "-r", "-w", "/bin/sh", "-c", command], input=given,
                              capture_output=True, timeout=120, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert not check or done.returncode == 0, command + "\n" + done.stdout + done.stderr
        return done
    run.layer = pathlib.Path(f"/proc/{holder.pid}/root{folder}/upper")
    try:
        yield run
    finally:
        holder.kill()
        holder.communicate()


def hides(path):
    """Overlayfs's whiteout: what is there below is not there in the copy."""
    found = path.lstat()
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def left(machine, brought):
    """What the copy's own layer changes of the machine below, without dpkg's books and the accounts, which stay, and without what the
    package brought and took away where the machine has that, too: others change it meanwhile, labs make /etc/oceanid."""
    books = re.compile(r"/(new\.deb|var/(cache|log)/|var/lib/(dpkg|systemd|oceanid)|etc/(passwd|group|shadow|gshadow|subuid|subgid|\.pwd\.lock))")
    found = []
    for path in machine.layer.glob("**/*"):
        below = pathlib.Path("/") / path.relative_to(machine.layer)
        if hides(path) and str(below) in brought:
            continue
        same = below.is_dir() if path.is_dir() and not path.is_symlink() else (
            path.is_file() and below.is_file() and path.read_bytes() == below.read_bytes())
        if not same and not books.match(str(below)):
            found.append(str(below))
    return found


def test_it_brings_what_a_plain_host_needs_and_takes_all_of_it_away(machine):
    said = machine("dpkg -i /new.deb").stdout
    assert "Setting up oceanid (0.1.0)" in said
    assert machine("oceanid --version").stdout == "oceanid 0.1.0\n"
    assert machine("getent passwd oceanid").stdout.rstrip().endswith("/usr/sbin/nologin")
    machine("ip route add unreachable 192.0.2.9 proto oceanid")
    assert "proto oceanid" in machine("ip route show type unreachable").stdout
    machine("ip route del unreachable 192.0.2.9")
    for unit in ("oceanid", "oceanid-guard"):
        text = machine(f"cat /lib/systemd/system/{unit}.service").stdout
        machine("test -x " + re.search(r"(?m)^ExecStart=(\S+)", text)[1])
    assert "ManageForeignRoutes=no" in machine("cat /usr/lib/systemd/networkd.conf.d/oceanid.conf").stdout
    machine("cd /usr/share/doc/oceanid && for file in deploy/examples/*.yaml; do oceanid check -c $file; done")
    machine("dpkg --verify oceanid")
    brought = machine("dpkg -L oceanid").stdout.splitlines()
    machine("mkdir -p /var/lib/oceanid; touch /var/lib/oceanid/state")
    machine("dpkg -r oceanid")
    assert machine("command -v oceanid", check=False).returncode != 0
    machine("dpkg -P oceanid")
    assert left(machine, brought) == []
    state = machine.layer / "var/lib/oceanid"
    assert not os.path.lexists(state) or hides(state)


def test_an_upgrade_keeps_the_configuration_and_the_state(machine, root, oceanid, tmp_path):
    machine("dpkg -i /new.deb; mkdir -p /var/lib/oceanid; echo kept >/var/lib/oceanid/x; cat >/etc/oceanid/oceanid.yaml", stdin=CONFIG)
    second = build(root, oceanid, tmp_path, "0.1.1")
    machine("cat >/second.deb", stdin=second.read_bytes())
    machine("dpkg -i /second.deb")
    assert "0.1.1" in machine("dpkg -s oceanid").stdout
    assert machine("cat /etc/oceanid/oceanid.yaml").stdout == CONFIG
    assert machine("cat /var/lib/oceanid/x").stdout == "kept\n"


def test_removal_opens_what_was_held_closed_or_does_not_happen(machine):
    machine("dpkg -i /new.deb; cat >/etc/oceanid/oceanid.yaml", stdin=CONFIG)
    machine("oceanid guard -c /etc/oceanid/oceanid.yaml")
    assert "table inet oceanid" in machine("nft list ruleset").stdout and "5100:" in machine("ip rule").stdout
    machine("echo 'not: ours' >>/etc/oceanid/oceanid.yaml")
    refused = machine("dpkg -r oceanid", check=False)
    assert refused.returncode != 0 and "so the program stays" in refused.stderr
    assert "table inet oceanid" in machine("nft list ruleset").stdout and machine("oceanid --version")
    machine("cat >/etc/oceanid/oceanid.yaml", stdin=CONFIG)
    machine("dpkg -r oceanid")
    assert machine("nft list ruleset").stdout == "" and "5100:" not in machine("ip rule").stdout
    assert machine("cat /etc/oceanid/oceanid.yaml").stdout == CONFIG


# systemctl, as far as the scripts ask: what is active and enabled is a file, and so is what was asked for.
SYSTEMCTL = """#!/bin/sh
echo "$*" >>/run/asked
case "$*" in
    *is-active*) test -e /run/active ;;
    *is-enabled*) test -e /run/enabled ;;
    *show*) echo "{ path=/usr/bin/oceanid ; argv[]=/usr/bin/oceanid run -c $(cat /run/named) ; ignore_errors=no ; pid=0 }" ;;
esac
"""


@pytest.fixture
def systemd(machine):
    machine("mkdir -p /run/systemd/system; cat >/usr/bin/systemctl; echo /etc/oceanid/oceanid.yaml >/run/named; touch /run/asked", stdin=SYSTEMCTL)

    def run(command, check=True, stdin=None):
        """command -> (what it did, what was asked of systemd)"""
        machine(": >/run/asked")
        done = machine(command, check, stdin)
        return done, [line for line in machine("cat /run/asked").stdout.splitlines() if "show" not in line and "is-" not in line]
    return run


SIGNAL = "kill --kill-who=main --signal=USR2 oceanid.service"
NEXT = "systemctl enable --now oceanid-guard.service oceanid.service"


def test_what_runs_becomes_the_new_one_unless_that_would_not_start(systemd):
    done, asked = systemd("dpkg -i /new.deb")
    assert NEXT in done.stdout and asked == ["daemon-reload"]
    systemd("touch /run/active /run/enabled; cat >/etc/oceanid/oceanid.yaml", stdin=CONFIG)
    done, asked = systemd("dpkg -i /new.deb")
    assert asked == ["daemon-reload", SIGNAL] and NEXT not in done.stdout
    systemd("echo 'not: ours' >>/etc/oceanid/oceanid.yaml")
    done, asked = systemd("dpkg -i /new.deb")
    assert asked == ["daemon-reload"] and "The former one goes on" in done.stderr
    systemd("rm /run/active")
    done, asked = systemd("dpkg -i /new.deb")
    assert asked == ["daemon-reload"] and NEXT not in done.stdout


def test_a_removal_that_is_refused_leaves_the_units_as_they_were(systemd):
    systemd("dpkg -i /new.deb; touch /run/active /run/enabled; echo /etc/oceanid/node.yaml >/run/named; cat >/etc/oceanid/node.yaml", stdin=CONFIG)
    systemd("oceanid guard -c /etc/oceanid/node.yaml; mv /etc/oceanid/node.yaml /root/away.yaml")
    done, asked = systemd("dpkg -r oceanid", check=False)
    assert done.returncode != 0 and "node.yaml is not there, so the program stays" in done.stderr and asked == []
    systemd("mv /root/away.yaml /etc/oceanid/node.yaml")
    done, asked = systemd("dpkg -r oceanid")
    assert asked == ["--quiet disable --now oceanid.service", "--quiet disable oceanid-guard.service", "daemon-reload"]
    assert systemd("nft list ruleset")[0].stdout == ""


def test_it_depends_on_what_the_image_and_the_quickstart_install(package, oceanid):
    depends = subprocess.run(["dpkg-deb", "-f", str(package), "Depends"], text=True, capture_output=True, check=True).stdout
    listed = {word.strip() for word in depends.split(",")}
    libraries = {line.split()[2] for line in subprocess.run(["ldd", oceanid], text=True, capture_output=True, check=True).stdout.splitlines()
                 if "=> /" in line}
    owners = set()
    for library in libraries:
        paths = [library, os.path.realpath(library), library.removeprefix("/usr")]
        found = [done.stdout.split(":")[0] for path in paths
                 if (done := subprocess.run(["dpkg-query", "-S", path], text=True, capture_output=True)).returncode == 0]
        assert found, library
        owners.add(found[0])
    essential = {"libc6", "libgcc-s1", "zlib1g"}
    indirect = {"libnghttp2-14", "libunistring2"}
    assert owners - essential - indirect <= listed
    assert "nftables" in listed
