"""The Debian package, installed, upgraded and removed by dpkg on a copy of this machine that nobody else sees: an overlay over its
root, in namespaces of its own. No systemd runs in there; what the scripts ask of it is read."""
import os
import pathlib
import re
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
MACHINE = """
set -e
mount -t tmpfs t {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay o -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
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
        pytest.skip(f"no overlay over this machine's root: {holder.communicate()[1].strip()}")

    def run(command, check=True, stdin=None):
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(["nsenter", "-t", init, "-m", "-n", "-p", "-r", "-w", "/bin/sh", "-c", command], input=given,
                              capture_output=True, timeout=120, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
        assert not check or done.returncode == 0, command + "\n" + done.stdout + done.stderr
        return done
    try:
        yield run
    finally:
        holder.kill()
        holder.communicate()


def files(machine):
    """What is there, without dpkg's own books and the accounts, which stay."""
    text = machine("find /etc /lib/systemd /usr/bin /usr/lib /usr/share /var/lib -xdev \\( -type d -printf '%p d %m\\n' -o -printf '%p %y %s %m\\n' \\)").stdout
    books = re.compile(r"/(var/lib/(dpkg|systemd|oceanid)|etc/(passwd|group|shadow|gshadow|subuid|subgid|\.pwd\.lock))")
    return {line for line in text.splitlines() if not books.match(line)}


def test_it_brings_what_a_plain_host_needs_and_takes_all_of_it_away(machine):
    before = files(machine)
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
    machine("dpkg -r oceanid")
    assert machine("command -v oceanid", check=False).returncode != 0
    machine("dpkg -P oceanid")
    assert not files(machine) ^ before
    machine("test ! -e /var/lib/oceanid")


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


def test_a_gateway_that_runs_becomes_the_new_one(root):
    """By the signal of an upgrade, to its main process alone; and systemd knows that this is no end."""
    text = (root / "deploy/debian/postinst").read_text(encoding="utf-8")
    assert "systemctl kill --kill-who=main --signal=USR2 oceanid.service" in text
    assert "restart" not in text
    subprocess.run(["sh", "-n", str(root / "deploy/debian/postinst")], check=True)


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
