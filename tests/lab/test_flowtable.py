"""Established connections that skip the rule set (routing.flowtable): they are accounted for, and stay where they belong.

Those marked `flowtable` need a kernel that has it and run in the virtual machine of tests/vm; the others want one that
lacks it. Nothing may come from another source than an exit's address, whatever happens to the rules that an offloaded
packet does not meet.
"""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import EXIT_ADDRESS
from matrix import Worker

FILE = "/etc/oceanid/oceanid.yaml"
EDGE = "192.0.2.12"  # edge.example.test
PORT = "7844"        # echoes; says first how it sees the caller
BRIDGE = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
SIZE = 1000

# One TCP connection. `N` on standard input: N exchanges of SIZE bytes, and `done` when all came back; else the error.
STREAM = r"""
import socket, sys
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
reader = stream.makefile("rb")
print(reader.readline().decode().strip(), flush=True)
block = b"x" * int(sys.argv[3])
for line in sys.stdin:
    try:
        for _ in range(int(line)):
            stream.sendall(block)
            if reader.read(len(block)) != block:
                raise OSError("closed")
        print("done", flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
"""

# A TCP connection and a UDP socket that never rest; a connection that ends is made again. A line on standard input is
# answered by what came of both since the last one.
BUSY = r"""
import collections, json, socket, sys, threading, time
address, counts = (sys.argv[1], int(sys.argv[2])), collections.Counter()
def tcp():
    while True:
        try:
            with socket.create_connection(address, 2) as stream:
                stream.settimeout(2)
                reader = stream.makefile("rb")
                seen = reader.readline().decode().strip()
                while True:
                    stream.sendall(b"x" * 200)
                    if len(reader.read(200)) != 200:
                        raise ConnectionResetError
                    counts["tcp " + seen] += 1
                    time.sleep(0.01)
        except OSError as error:
            counts["tcp " + type(error).__name__] += 1
            time.sleep(0.05)
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.settimeout(0.5)
        while True:
            try:
                sock.send(b"x")
                counts["udp " + sock.recv(200).split(b" ")[0].decode()] += 1
            except OSError as error:
                counts["udp " + type(error).__name__] += 1
            time.sleep(0.01)
for way in (tcp, udp):
    threading.Thread(target=way, daemon=True).start()
for _ in sys.stdin:
    print(json.dumps(counts), flush=True)
    counts.clear()
"""

# What the rules see of the flow to EDGE; an offloaded packet meets none.
COUNT = f"""table inet seen {{
  counter up {{ }}
  counter down {{ }}
  chain forward {{
    type filter hook forward priority 0;
    ip daddr {EDGE} tcp dport {PORT} counter name up
    ip saddr {EDGE} tcp sport {PORT} counter name down
  }}
}}
"""


class Fast:
    """A node whose connections may skip the rules."""
    node = "styx"

    def __init__(self, lab):
        self.lab = lab
        self.original = lab.exec(self.node, "cat", FILE).stdout

    def take(self, *changes, extra="  flowtable: true\n  drain: 2s\n"):
        text = self.original.rstrip("\n") + "\n" + extra
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        self.write(text)

    def write(self, text):
        self.lab.exec(self.node, "bash", "-c", f"cat > {FILE}.new && mv {FILE}.new {FILE}", input=text)
        self.lab.wait_for(lambda: self.lab.oceanid(self.node, "reload", check=False).returncode == 0, 30)

    def state(self):
        return self.lab.status(self.node)["routing"]["flowtable"]

    def in_use(self):
        self.lab.wait_for(lambda: self.state() == "in use", 60)

    def sysctl(self, name, value):
        self.lab.exec(self.node, "sysctl", "-qw", f"{name}={value}")

    def bridge(self, value):
        """Whether frames of pods are handed to iptables, as k3s has it."""
        for name in BRIDGE:
            self.sysctl(name, value)

    def nft(self, text):
        self.lab.exec(self.node, "nft", "-f", "-", input=text)

    def devices(self):
        listing = self.lab.exec(self.node, "nft", "list", "table", "inet", "oceanid_flow").stdout
        return set(re.search(r"devices = \{ (.*) \}", listing)[1].split(", "))

    def entries(self):
        """Connection tracking's, of what goes to EDGE."""
        return [line for line in self.lab.exec(self.node, "conntrack", "-L", "-d", EDGE).stdout.splitlines() if f"={PORT}" in line]

    def offloaded(self, protocol):
        return [line for line in self.entries() if line.startswith(protocol) and "[OFFLOAD]" in line]

    def met_by_rules(self):
        found = self.lab.exec(self.node, "nft", "list", "counters", "table", "inet", "seen").stdout
        return {way: int(packets) for way, packets in re.findall(r"counter (\w+) \{\s+packets (\d+)", found)}

    def skipped_the_rules(self):
        """A route that changes anywhere on the node has one packet of every connection decided anew."""
        met = self.met_by_rules()
        assert sum(met.values()) <= 2, met

    def netd(self, number):
        for pid in self.lab.pids(self.node, "oceanid-netd"):
            os.kill(pid, number)


class Line:
    def __init__(self, lab, script, *words, pod="pod-styx-1"):
        self.process = lab.popen(pod, "/usr/bin/python3", "-c", script, EDGE, PORT, *words, stdin=subprocess.PIPE)

    def ask(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.hear()

    def hear(self):
        return self.process.stdout.readline().strip() or self.process.stderr.read()

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def fast(lab):
    fast = Fast(lab)
    acct = lab.exec("styx", "sysctl", "-n", "net.netfilter.nf_conntrack_acct").stdout.strip()
    fast.sysctl("net.netfilter.nf_conntrack_acct", 1)
    yield fast
    fast.netd(signal.SIGCONT)
    fast.bridge(1)  # as the lab has it
    fast.sysctl("net.netfilter.nf_conntrack_acct", acct)
    lab.exec("styx", "nft", "delete", "table", "inet", "seen", check=False)
    fast.write(fast.original)
    lab.wait_for(lambda: fast.state() == "off", 30)
    assert lab.exec("styx", "nft", "list", "table", "inet", "oceanid_flow", check=False).returncode != 0


@pytest.fixture
def lines(lab):
    opened = []

    def open_line(script, *words):
        opened.append(Line(lab, script, *words))
        return opened[-1]
    yield open_line
    for line in opened:
        line.close()


class Traffic:
    """A pod that never rests, and what of it arrives in the internet."""

    def __init__(self, lab, fast, busy):
        self.lab, self.fast, self.busy = lab, fast, busy
        self.capture = Worker(lab, "internet", "capture")
        assert self.capture.hear() == "ready\n"

    def carried(self, address, seconds=60):
        """Both kinds are answered, and seen like that."""
        wanted = {f"tcp {address}", f"udp {address}"}
        self.busy.ask()
        self.lab.wait_for(lambda: wanted <= set(json.loads(self.busy.ask())), seconds, 0.5)

    def offloaded(self):
        self.lab.wait_for(lambda: self.fast.offloaded("tcp") and self.fast.offloaded("udp"), 30)

    def begin(self):
        self.capture.say("reset")
        self.lab.reset_leaks()
        self.recovered()

    def recovered(self, seconds=60):
        """As at the beginning, and nothing went astray since."""
        self.carried(EXIT_ADDRESS["styx"], seconds)
        self.fast.in_use()
        self.offloaded()
        self.nothing_leaked()

    def nothing_leaked(self):
        seen = self.capture.report()
        assert seen["lost"] == 0 and seen["wrong"] == {}, seen
        assert self.lab.leaks() == 0
        return seen["right"]


@pytest.fixture
def traffic(lab, fast, lines):
    # Both directions skip the rules: what is feared is there to be seen.
    fast.bridge(0)
    fast.take()
    fast.in_use()
    assert fast.devices() == {"cni0", "oc-tethys", "oc-meliae"}
    traffic = Traffic(lab, fast, lines(BUSY))
    try:
        traffic.begin()
        yield traffic
    finally:
        traffic.capture.close()


@pytest.mark.no_flowtable
def test_a_kernel_without_it_forwards_plainly(lab, fast):
    fast.take()
    lab.wait_for(lambda: fast.state().startswith("refused: "), 30)
    assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["styx"]
    status = lab.status("styx")
    assert status["routing"]["in_force"]
    said = [event["text"] for event in status["events"] if "flowtable: this kernel" in event["text"]]
    assert len(said) == 1 and "every packet meets the rule set" in said[0], said
    assert "flowtable: refused" in lab.oceanid("styx", "status").stdout
    found = json.loads(lab.oceanid("styx", "check", "--system", "--json", check=False).stdout)
    lacking = [line for line in found["findings"] if "flowtables are not there" in line["what"]]
    assert [line["severity"] for line in lacking] == ["warn"] and "modprobe" in lacking[0]["remedy"], found
    assert lab.leaks() == 0


@pytest.mark.flowtable
@pytest.mark.parametrize("bridge", ["0", "1"])
def test_bytes_of_offloaded_connections_are_counted_once(lab, fast, lines, bridge):
    """With bridge-nf-call-iptables, as k3s has it, what pods send was counted before it arrives on their bridge: then
    only the answers skip the rules."""
    fast.bridge(bridge)
    fast.take()
    fast.in_use()
    assert fast.devices() == {"oc-tethys", "oc-meliae"} | ({"cni0"} if bridge == "0" else set())
    line = lines(STREAM, str(SIZE))
    assert line.hear() == EXIT_ADDRESS["styx"]
    assert line.ask("5") == "done"
    lab.wait_for(lambda: fast.offloaded("tcp"))
    fast.nft(COUNT)
    assert line.ask("200") == "done"
    met = fast.met_by_rules()
    if bridge == "0":
        fast.skipped_the_rules()
    else:
        assert met["down"] <= 1 and met["up"] >= 200, met
    # Its own: the largest. Whether it is in the table at this moment does not matter here.
    bytes_of = lambda entry: [int(count) for count in re.findall(r"bytes=(\d+)", entry)]
    counted = max((bytes_of(entry) for entry in fast.entries() if entry.startswith("tcp")), key=sum)
    carried = 205 * SIZE
    assert len(counted) == 2 and all(carried < count < 1.4 * carried for count in counted), fast.entries()
    assert lab.leaks() == 0


@pytest.mark.flowtable
def test_a_switch_of_the_exit(lab, fast, lines, traffic):
    idle = lines(STREAM, str(SIZE))
    idle.hear()
    assert idle.ask("5") == "done"
    lab.wait_for(lambda: len(fast.offloaded("tcp")) >= 2)
    lab.fault("cut", "on", "tethys")
    try:
        traffic.carried(EXIT_ADDRESS["meliae"])
        assert idle.ask("1") in ("ConnectionResetError", "BrokenPipeError"), "it was reset while it said nothing"
        fast.in_use()
        traffic.offloaded()
        assert traffic.nothing_leaked() > 100
    finally:
        lab.fault("cut", "off", "tethys")
    # The planned way back: first drained, then offloaded again.
    traffic.recovered(90)


@pytest.mark.flowtable
@pytest.mark.parametrize("taken", ["rules", "nftables"])
def test_one_layer_is_taken_away_while_nobody_repairs_it(lab, fast, traffic, taken):
    fast.netd(signal.SIGSTOP)
    if taken == "rules":
        lab.exec("styx", "bash", "-c", "for p in $(ip rule | cut -d: -f1 | awk '$1 >= 5100 && $1 <= 5190'); do ip rule del pref $p; done")
        lab.wait_for(lambda: not fast.offloaded("tcp") and not fast.offloaded("udp"), 20)
    else:
        lab.fault("flush-nft", "on", "styx")
    for _ in range(4):
        lab.wait_for(lambda: json.loads(traffic.busy.ask()), 10)
        time.sleep(0.5)
    traffic.nothing_leaked()
    fast.netd(signal.SIGCONT)
    if taken == "nftables":
        lab.fault("flush-nft", "off", "styx")
    traffic.recovered()


@pytest.mark.flowtable
def test_the_tunnel_is_deleted(lab, fast, traffic):
    lab.exec("styx", "ip", "link", "delete", "oc-tethys")
    traffic.recovered(90)
    assert "oc-tethys" in fast.devices()


@pytest.mark.flowtable
def test_netd_dies(lab, fast, traffic):
    """Connections go on by their exit; the next netd trusts nothing that it finds."""
    fast.netd(signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"))
    traffic.busy.ask()
    lab.wait_for(lambda: json.loads(traffic.busy.ask()).get(f"udp {EXIT_ADDRESS['tethys']}"), 10)
    lab.run("gateway", "start", "styx")
    traffic.recovered()


@pytest.mark.flowtable
def test_a_smaller_tunnel_is_noticed(lab, fast, lines, traffic):
    """What is larger than the tunnel became goes back to the slow way, which says so to the pod."""
    line = lines(STREAM, "20000")
    line.hear()
    assert line.ask("5") == "done"
    fast.netd(signal.SIGSTOP)  # it would put the MTU back
    lab.exec("styx", "ip", "link", "set", "oc-tethys", "mtu", "1280")
    assert line.ask("20") == "done"
    assert "mtu 1280" in lab.exec("styx", "ip", "link", "show", "oc-tethys").stdout
    fast.netd(signal.SIGCONT)
    traffic.recovered()


@pytest.mark.flowtable
def test_another_policy_decides_open_connections_anew(lab, fast, traffic):
    """UDP to the service is sent by the other exit from now on; nobody opened anything anew."""
    selection = f"  selection:\n    - {{ destinations: {EDGE}, exit: meliae }}\n"
    fast.take(extra="  flowtable: true\n  drain: 2s\n" + selection)
    lab.wait_for(lambda: f"udp {EXIT_ADDRESS['meliae']}" in json.loads(traffic.busy.ask()), 30, 0.5)
    traffic.nothing_leaked()
