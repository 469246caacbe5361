"""Keys. `oceanid keys rotate`: the key of a node changes under load and nothing notices; what does not fit holds it back.

Preshared keys, keys that are too old, and where no key may be found."""
import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

CONFIG = "/etc/oceanid/oceanid.yaml"
STATE = "/var/lib/oceanid"
TARGET = "192.0.2.12"  # edge.example.test
WITHOUT_PTRACE = ["setpriv", "--bounding-set", "-sys_ptrace"]


class Keys:
    """One node's key, and the lines of its peers that name it."""

    def __init__(self, lab, node):
        self.lab, self.node = lab, node
        self.former = self.public()
        self.peers = [peer["peer"] for peer in self.prepare()]

    def public(self):
        return self.lab.oceanid(self.node, "keys", "public").stdout.strip()

    def status(self):
        return self.lab.status(self.node)["key"]

    def prepare(self):
        text = self.lab.oceanid(self.node, "keys", "rotate").stdout
        self.next = re.search(r"next public key: (\S{44})", text)[1]
        return self.status()["peers"]

    def tell(self, peer, next_key=None):
        self.edit(peer, f's|public_key: "{self.former}"|&\\n      next_public_key: "{next_key or self.next}"|')

    def settle(self):
        """Every peer names the key in force alone."""
        key = self.status()["public_key"]
        for peer in self.peers:
            self.edit(peer, f'/next_public_key:/d; s|public_key: "{self.former}"|public_key: "{key}"|')

    def edit(self, peer, change):
        self.lab.exec(peer, "sed", "-i", change, CONFIG)
        self.lab.oceanid(peer, "reload")

    def turned(self):
        key = self.status()
        return key["rotation"] == "turned" and all(peer["state"] == "turned" for peer in key["peers"]) and key

    def in_force_at(self, peer):
        return {tunnel["key_in_force"] for tunnel in self.lab.status(peer)["tunnels"] if tunnel["peer"] == self.node}


@pytest.fixture
def load(lab):
    """A download through the exit by one connection, 20 pings a second beside it and 20 more inside the tunnel.

    Below what the tunnel carries: a download that overruns wireguard-go's queues loses pings without any change of keys.
    """
    processes = []

    def start(seconds):
        nonlocal processes
        count = str(seconds * 20)
        processes = [lab.popen("pod-styx-1", "curl", "-sS", "-o", "/dev/null", "-m", str(seconds), "--limit-rate", "1M",
                               f"https://www.example.test/bytes/{1 << 40}"),
                     lab.popen("pod-styx-1", "ping", "-q", "-i", "0.05", "-c", count, "-W", "5", TARGET),
                     lab.popen("styx", "ping", "-q", "-i", "0.05", "-c", count, "-W", "5", "10.99.0.1")]

        def finish():
            bulk, *pings = [(process, *process.communicate(timeout=seconds + 30)) for process in processes]
            assert bulk[0].returncode == 28, f"the download did not last: {bulk[2]}"
            return [out for _, out, _ in pings]
        return finish

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def log_of(lab, node):
    return pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-{node}.log").read_text()


def received(lab):
    return sum(tunnel["rx_bytes"] for tunnel in lab.status("styx")["tunnels"] if tunnel["peer"] == "tethys")


@pytest.mark.parametrize("node", ["styx", "tethys"])
def test_a_key_changes_under_load_without_a_lost_ping(lab, load, node, record_property):
    keys = Keys(lab, node)
    before = lab.exec(node, "cat", f"{STATE}/private.key").stdout
    finish = load(14)
    time.sleep(1)
    try:
        for peer in keys.peers:
            keys.tell(peer)
        shown = lab.wait_for(keys.turned, 15)
        assert shown["public_key"] == keys.next
        settled = received(lab)
        pings = finish()
        for text in pings:
            record_property("ping", text.strip().splitlines()[-2:])
            assert " 0% packet loss" in text, text
        assert received(lab) > settled + (1 << 20), "the download goes on with the new key"
        assert lab.exec(node, "cat", f"{STATE}/private.key.old").stdout == before
        assert lab.exec(node, "stat", "-c", "%a %u", f"{STATE}/private.key").stdout.strip() == "600 0"
        for peer in keys.peers:
            assert keys.in_force_at(peer) == {"next_public_key"}
    finally:
        keys.settle()  # other tests know the node by its key
    assert lab.seen_as("pod-styx-1") == "203.0.113.10"
    assert lab.leaks() == 0
    private = lab.exec(node, "cat", f"{STATE}/private.key").stdout.strip()
    shows = lab.oceanid(node, "status", "--json").stdout + lab.oceanid(node, "plan").stdout + log_of(lab, node)
    assert "the next key of this node is in force" in shows
    assert private not in shows and before.strip() not in shows


def test_a_peer_that_does_not_know_the_key_holds_it_back_and_is_named(lab):
    keys = Keys(lab, "calypso")  # for three minutes after a turn there is no other on the same node
    knows, *others = keys.peers
    try:
        keys.tell(knows)
        lab.wait_for(lambda: {peer["peer"]: peer["state"] for peer in keys.status()["peers"]} ==
                     {knows: "ready"} | {peer: "unknown" for peer in others}, 15)
        time.sleep(3)
        assert keys.status()["rotation"] == "waiting" and keys.public() == keys.former
        text = lab.oceanid("calypso", "keys", "rotate").stdout
        assert f"{knows}: ready" in text and f"{others[0]}: does not know the next key" in text
        assert lab.seen_as("pod-calypso-1") == "203.0.113.10"
    finally:
        lab.oceanid("calypso", "keys", "rotate", "--abandon")
        keys.settle()
    assert keys.status()["rotation"] == "none"
    assert lab.exec("calypso", "test", "-e", f"{STATE}/private.key.next", check=False).returncode != 0


def test_netd_dies_in_the_middle(lab):
    """Of the node that turns, right after it has; its successor and the peers go on from what is on disk."""
    keys = Keys(lab, "calypso")
    for peer in keys.peers:
        keys.tell(peer)
    lab.wait_for(lambda: lab.exec("calypso", "test", "-e", f"{STATE}/private.key.old", check=False).returncode == 0
                 and keys.public() == keys.next, 15, 0.02)
    for pid in lab.pids("calypso", "oceanid-netd"):
        os.kill(pid, signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("calypso", "oceanid-netd"), 5)
    lab.run("gateway", "start", "calypso")
    try:
        lab.wait_for(lambda: lab.seen_as("pod-calypso-1", check=False, patience=2) == "203.0.113.10", 40)
        assert keys.public() == keys.next
        for peer in keys.peers:
            lab.wait_for(lambda peer=peer: keys.in_force_at(peer) == {"next_public_key"}, 30)
    finally:
        keys.settle()
    assert lab.leaks() == 0


class Shared:
    """A preshared key of two nodes."""

    NODES = ("calypso", "tethys")

    def __init__(self, lab):
        self.lab = lab
        self.before = {node: lab.exec(node, "cat", CONFIG).stdout for node in self.NODES}
        self.key = lab.exec("calypso", "wg", "genpsk").stdout
        for node in self.NODES:
            self.make(node, "psk", self.key)

    def make(self, node, name, text):
        self.lab.exec(node, "sh", "-c", f"umask 077; cat >{STATE}/{name}", input=text)

    def use(self, node, name):
        peer = next(other for other in self.NODES if other != node)
        text = re.sub(rf"(?m)^( +)- name: {peer}\n", rf"\g<0>\1  preshared_key_file: {STATE}/{name}\n", self.before[node])
        assert text != self.before[node]
        self.lab.exec(node, "tee", CONFIG, input=text)
        self.lab.oceanid(node, "reload")

    def dial_anew(self):
        """A session that stands would go on without the key until WireGuard renews it, two minutes later."""
        self.lab.exec("calypso", "ip", "link", "delete", "oc-tethys")

    def way(self):
        return next(one for one in self.lab.status("calypso")["exits"] if one["name"] == "tethys")

    def close(self):
        for node in self.NODES:
            self.lab.exec(node, "tee", CONFIG, input=self.before[node])
            self.lab.oceanid(node, "reload")
            self.lab.exec(node, "sh", "-c", f"rm -f {STATE}/psk {STATE}/other.psk")
        self.dial_anew()


@pytest.fixture
def shared(lab):
    shared = Shared(lab)
    try:
        yield shared
    finally:
        shared.close()


def test_only_the_same_preshared_key_carries_and_nothing_tells_it(lab, shared):
    def handshake():
        return next(one for one in lab.status("calypso")["tunnels"] if one["device"] == "oc-tethys").get("handshake_age_seconds")

    other = lab.exec("calypso", "wg", "genpsk").stdout
    shared.make("calypso", "other.psk", other)
    shared.use("tethys", "psk")
    shared.use("calypso", "other.psk")
    shared.dial_anew()
    lab.wait_for(lambda: shared.way()["state"] == "down" and lab.seen_as("pod-calypso-1", check=False, patience=2) == "203.0.113.20")
    time.sleep(6)  # longer than WireGuard's pause between two handshakes
    assert not shared.way()["usable"] and handshake() is None

    shared.use("calypso", "psk")
    shared.dial_anew()
    lab.wait_for(lambda: shared.way()["usable"] and handshake() is not None, 30)
    lab.wait_for(lambda: lab.seen_as("pod-calypso-1", check=False, patience=2) == "203.0.113.10", 30)

    # Another key under the same name is a change of the configuration.
    third = lab.exec("calypso", "wg", "genpsk").stdout
    shared.make("calypso", "psk", third)
    lab.oceanid("calypso", "reload")
    shared.dial_anew()
    lab.wait_for(lambda: shared.way()["state"] == "down")
    shared.make("tethys", "psk", third)
    lab.oceanid("tethys", "reload")
    lab.wait_for(lambda: shared.way()["usable"] and handshake() is not None, 30)
    shared.make("tethys", "psk", "no key\n")
    refused = lab.oceanid("tethys", "reload", check=False)
    assert refused.returncode == 1 and f"{STATE}/psk" in refused.stderr and shared.way()["usable"]
    shared.make("tethys", "psk", third)
    # A file that is gone is no other key: a reload must not make one that no peer knows.
    lab.exec("calypso", "mv", f"{STATE}/private.key", f"{STATE}/away")
    lab.oceanid("calypso", "reload")
    assert lab.exec("calypso", "test", "-e", f"{STATE}/private.key", check=False).returncode == 1
    lab.exec("calypso", "mv", f"{STATE}/away", f"{STATE}/private.key")
    assert shared.way()["usable"]
    for node in shared.NODES:
        assert "could not be brought up" not in log_of(lab, node)
    for node in shared.NODES:
        shows = (lab.oceanid(node, "status", "--json").stdout + lab.oceanid(node, "status").stdout
                 + lab.oceanid(node, "plan").stdout + log_of(lab, node))
        for key in (shared.key, other, third):
            assert key.strip() not in shows and base64.b64decode(key).hex() not in shows
    assert lab.leaks() == 0


def test_an_old_key_is_warned_about_once_and_shown(lab):
    said = lambda: log_of(lab, "calypso").count("older than tunnel.key_lifetime")
    assert said() == 0 and lab.status("calypso")["key"]["too_old"] is False
    lab.exec("calypso", "touch", "-d", "91 days ago", f"{STATE}/private.key")
    try:
        lab.wait_for(said, 5)
        assert lab.status("calypso")["key"]["too_old"] is True
        text = lab.oceanid("calypso", "status").stdout
        assert "91 days old, older than the 90 days of tunnel.key_lifetime: oceanid keys rotate" in text
        time.sleep(3)  # it is looked at each second
        assert said() == 1
        line = next(line for line in log_of(lab, "calypso").splitlines() if "older than tunnel.key_lifetime" in line)
        assert json.loads(line)["level"] == "warn" and json.loads(line)["age_days"] == "91"
    finally:
        lab.exec("calypso", "touch", f"{STATE}/private.key")
    assert "older than" not in lab.oceanid("calypso", "status").stdout


def test_nobody_who_knows_a_key_leaves_a_core_file(lab):
    """By the limit, which programs that are started inherit; and by the flag that also keeps a core from a collector."""
    netd, = lab.pids("styx", "oceanid-netd")
    ours = [netd, *descendants(netd)]
    daemons = lab.pids("styx", "wireguard-go")
    assert len(ours) >= 3 and len(daemons) >= 2, (ours, daemons)
    for pid in {*ours, *daemons}:
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"^Max core file size +0 +0 ", limits, re.M), (pid, limits)
    # Of a process that may not be dumped another account's files in /proc are root's.
    workers = [pid for pid in ours if account(pid) != 0]
    assert workers, ours
    for pid in workers:
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, pid
    # And root's cannot be looked into without CAP_SYS_PTRACE, as any other without it can.
    with subprocess.Popen([*WITHOUT_PTRACE, "sleep", "60"]) as plain:
        try:
            lab.wait_for(lambda: looks_into(plain.pid), 5)
            assert not looks_into(netd)
        finally:
            plain.kill()


def descendants(pid):
    found = []
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def account(pid):
    return int(re.search(r"^Uid:\t(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def looks_into(pid):
    return subprocess.run([*WITHOUT_PTRACE, "readlink", f"/proc/{pid}/exe"], stdout=subprocess.DEVNULL).returncode == 0


def test_metrics_tell_the_age(lab):
    text = lab.exec("styx", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout
    assert re.search(r"^oceanid_tunnel_key_age_seconds \d", text, re.M)
