"""What an exit does with its addresses and its clients, in the running gateway: ports towards one place run low, the next
address takes over and nobody's connection fails; what every client has used is what it has sent."""
import json
import pathlib
import re
import subprocess
import time

import pytest

from matrix import Capture

CONFIG = "/etc/oceanid/oceanid.yaml"
FIRST, SECOND = "203.0.113.10", "203.0.113.11"
TARGET, PORT = "192.0.2.12", 7844  # edge.example.test
PLACE = f"{TARGET}:{PORT}"
PORTS = 64512

# One datagram from each source port, again for those without an answer, a part of them at a time. Tells how they were
# seen and how many never had an answer.
ASK = r"""
import json, resource, select, socket, sys, time
host, port, first, last, tries = sys.argv[1], *map(int, sys.argv[2:6])
patience = float(sys.argv[6])
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
seen, silent = {}, 0
for start in range(first, last, 200):
    poll, waiting = select.epoll(), {}
    for number in range(start, min(start + 200, last)):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("0.0.0.0", number)); s.connect((host, port)); s.setblocking(False)
        waiting[s.fileno()] = s
        poll.register(s, select.EPOLLIN)
    for attempt in range(tries):
        for s in waiting.values():
            try: s.send(b"x")
            except OSError: pass  # an ICMP error for the one before
        limit = time.time() + patience
        while waiting and time.time() < limit:
            for number, _ in poll.poll(0.05):
                s = waiting[number]
                try: address = s.recv(100).split()[0].decode()
                except OSError: continue
                seen[address] = seen.get(address, 0) + 1
                poll.unregister(number)
                waiting.pop(number).close()
        if not waiting: break
    silent += len(waiting)
    for s in waiting.values(): s.close()
    poll.close()
print(json.dumps({"seen": seen, "silent": silent}), flush=True)
"""

# FLOWS sockets, each with DATAGRAMS datagrams of SIZE bytes that come back; every one is waited for.
TALK = r"""
import socket, sys
host, port, flows, datagrams, size = sys.argv[1], *map(int, sys.argv[2:6])
for _ in range(flows):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((host, port)); s.settimeout(5)
        for _ in range(datagrams):
            s.send(b"echo" + b"x" * (size - 4))
            assert len(s.recv(2000)) == size
print("done", flush=True)
"""

# For each line with a number: as many more connections at once, what became of them. They stay open; an empty line closes one half.
HOLD = r"""
import collections, json, socket, sys
host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
open_ = []
for line in sys.stdin:
    if not line.strip():
        for s in open_[:len(open_) // 2]: s.close()
        del open_[:len(open_) // 2]
        print(json.dumps({"closed": len(open_)}), flush=True)
        continue
    counts = collections.Counter()
    for _ in range(int(line)):
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        s.settimeout(3)
        try:
            s.connect((host, port))
            if kind == "udp":
                for _ in range(5): s.send(b"x")
                s.recv(100)
            open_.append(s)
            counts["open"] += 1
        except OSError as error:
            s.close()
            counts[type(error).__name__] += 1
    print(json.dumps(counts), flush=True)
"""


class Exit:
    """tethys with other keys in serve_exit, an address more, and connections that are forgotten soon."""

    SYSCTLS = {"nf_conntrack_tcp_timeout_time_wait": 1, "nf_conntrack_tcp_timeout_close": 1, "nf_conntrack_tcp_timeout_last_ack": 1,
               "nf_conntrack_udp_timeout": 2, "nf_conntrack_udp_timeout_stream": 2}

    def __init__(self, lab):
        self.lab = lab
        self.before = lab.exec("tethys", "cat", CONFIG).stdout
        self.sysctls = {name: self.sysctl("tethys", name) for name in self.SYSCTLS}
        self.log = pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-tethys.log")
        self.logged = len(self.log.read_text(encoding="utf-8").splitlines())

    def sysctl(self, node, name, value=None):
        words = ["-n", f"net.netfilter.{name}"] if value is None else ["-qw", f"net.netfilter.{name}={value}"]
        return self.lab.exec(node, "sysctl", *words).stdout.strip()

    def patient(self, seconds):
        for node in ("tethys", "styx"):
            for name in ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"):
                self.sysctl(node, name, seconds)

    def start(self):
        self.lab.exec("tethys", "ip", "address", "replace", f"{SECOND}/28", "dev", "eth0")
        self.lab.exec("internet", "nft", "add", "element", "inet", "lab_leaks", "genuine4", f'{{ "tethys" . {SECOND} }}')
        for name, value in self.SYSCTLS.items():
            self.sysctl("tethys", name, value)
        self.forget()

    def use(self, *keys):
        text = self.before.replace("serve_exit:\n", "serve_exit:\n" + "".join(f"  {key}\n" for key in keys))
        assert text != self.before
        self.lab.exec("tethys", "tee", CONFIG, input=text)
        self.lab.oceanid("tethys", "reload")

    def forget(self):
        """Connections to the place that this or another test has left behind."""
        for node in ("tethys", "styx", "calypso"):
            self.lab.exec(node, "conntrack", "-D", "-d", TARGET, check=False, timeout=300)

    def end(self):
        self.lab.exec("tethys", "tee", CONFIG, input=self.before)
        self.lab.oceanid("tethys", "reload")
        for name, value in self.sysctls.items():
            for node in ("tethys", "styx"):
                self.sysctl(node, name, value)
        self.forget()
        self.lab.exec("tethys", "ip", "address", "del", f"{SECOND}/28", "dev", "eth0")
        self.lab.exec("internet", "nft", "delete", "element", "inet", "lab_leaks", "genuine4", f'{{ "tethys" . {SECOND} }}')

    def serving(self):
        return self.lab.status("tethys")["serving"]

    def line(self, address, protocol):
        for line in self.serving()["ports"]:
            if (line["address"], line["destination"]) == (address, f"{PLACE}/{protocol}"):
                return line
        return None

    def texts(self):
        return [event["text"] for event in self.lab.status("tethys")["events"]]

    def lines(self):
        """Of the log since the fixture began."""
        return self.log.read_text(encoding="utf-8").splitlines()[self.logged:]

    def warnings(self, text):
        lines = [json.loads(line) for line in self.lines() if line.startswith("{")]
        return [line for line in lines if line["level"] == "warn" and re.search(text, json.dumps(line))]

    def metrics(self):
        return self.lab.exec("tethys", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout

    def refusals(self):
        return self.lab.status("tethys")["conntrack"]["insert_failed"]


@pytest.fixture
def exits(lab):
    node = Exit(lab)
    capture = Capture(lab, f"tethys={SECOND}")
    try:
        node.start()
        yield node
        assert lab.leaks() == 0, lab.run("status").stdout
        assert capture.only_exits() > 0
    finally:
        capture.close()
        node.end()


def run(lab, pod, script, *words, timeout=120):
    return lab.exec(pod, "/usr/bin/python3", "-c", script, *map(str, words), timeout=timeout).stdout


def test_what_a_client_has_used_is_what_it_has_sent(lab, exits):
    """UDP, so that every byte is known: an IPv4 and a UDP header of 28 bytes and what is in it, the same back."""
    sent = {"pod-styx-2": (5, 7, 100), "pod-calypso-2": (3, 40, 1000)}
    address = {pod: lab.env()[f"LAB_{pod.upper().replace('-', '_')}_ADDRESS"] for pod in sent}
    for pod in sent:  # what other tests have left of them must not end in between
        for words in (("-s", address[pod]), ("-r", address[pod])):
            lab.exec("tethys", "conntrack", "-D", *words, check=False)
    time.sleep(1)

    def client(pod):
        return next((one for one in exits.serving()["clients"] if one["address"] == address[pod]), None)

    def place(pod):
        found = client(pod) or {"destinations": []}
        return next((one for one in found["destinations"] if one["destination"] == f"{PLACE}/udp"), {"bytes": 0, "flows": 0})

    def network(pod):
        name = re.sub(r"\.\d+$", ".0/24", address[pod])
        return next((one for one in exits.serving()["networks"] if one["network"] == name), {"flows": 0})

    before = {pod: (client(pod) or {"flows": 0, "bytes_up": 0, "bytes_down": 0, "packets_up": 0, "packets_down": 0}, place(pod), network(pod)["flows"]) for pod in sent}
    for pod, (flows, datagrams, size) in sent.items():
        assert run(lab, pod, TALK, TARGET, PORT, flows, datagrams, size) == "done\n"
    for pod, (flows, datagrams, size) in sent.items():
        was, was_there, was_of_network = before[pod]
        # The kernel's collector finds out that they are over; it may look once a minute only (GC_SCAN_INTERVAL_MAX).
        lab.wait_for(lambda: (client(pod) or {"flows": 0})["flows"] >= was["flows"] + flows, 90)
        now = client(pod)
        packets, octets = flows * datagrams, flows * datagrams * (size + 28)
        grown = {key: now[key] - was[key] for key in ("flows", "bytes_up", "bytes_down", "packets_up", "packets_down")}
        assert grown == {"flows": flows, "bytes_up": octets, "bytes_down": octets, "packets_up": packets, "packets_down": packets}
        assert place(pod)["bytes"] - was_there["bytes"] == 2 * octets
        assert place(pod)["flows"] - was_there["flows"] == flows
        assert network(pod)["flows"] - was_of_network >= flows
    assert address["pod-calypso-2"] in lab.oceanid("tethys", "status").stdout
    assert 'oceanid_routing_source_flows_total{source="10.42.3.0/24"}' in exits.metrics()


class Client:
    def __init__(self, lab, pod, kind):
        self.process = lab.popen(pod, "/usr/bin/python3", "-c", HOLD, TARGET, str(PORT), kind, stdin=subprocess.PIPE)

    def tell(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.mark.parametrize("kind, refusal", [("tcp", "ConnectionRefusedError"), ("udp", "OSError")])
def test_a_client_has_no_more_connections_than_it_may(lab, exits, kind, refusal):
    """Connections that stay open, by clients of another node and of the exit itself; each has its own limit. Five datagrams before the
    first answer are one connection."""
    exits.patient(60)
    exits.use("per_client: 20")
    clients = {pod: Client(lab, pod, kind) for pod in ("pod-styx-1", "pod-styx-2", "pod-tethys-1")}
    try:
        for pod, client in clients.items():
            assert client.tell(20) == {"open": 20}, pod
            # ICMP errors are limited in rate: a client of UDP may have to wait for nothing.
            found = client.tell(5)
            assert found.pop(refusal) + found.pop("TimeoutError", 0) == 5 and not found, (pod, found)
            assert kind == "udp" or client.tell(5) == {refusal: 5}, pod
        lab.wait_for(lambda: exits.serving()["refused"] >= 15)
        text = "new connections were refused, of a client with 20 open already (serve_exit.per_client); most has "
        lab.wait_for(lambda: any(text in one for one in exits.texts()))
        lab.wait_for(lambda: re.search(r"^oceanid_routing_client_refused_total (?!0$)", exits.metrics(), re.M))
        if kind == "tcp":  # a socket that is closed says nothing to anybody of UDP
            first = clients["pod-styx-1"]
            assert first.tell("") == {"closed": 10}
            lab.wait_for(lambda: first.tell(1) == {"open": 1}, 10)
        # Whoever lifts the limit has not lost what is open.
        exits.use("per_client: 0")
        assert clients["pod-styx-2"].tell(5) == {"open": 5}
        assert "client_limit" not in lab.exec("tethys", "nft", "list", "chain", "inet", "oceanid", "exit_destinations").stdout
    finally:
        for client in clients.values():
            client.close()


@pytest.fixture
def many(lab, exits):
    """Room in the kernel's table for connections by all ports of an address, which live longer than the test."""
    limit = int(lab.exec("tethys", "sysctl", "-n", "net.netfilter.nf_conntrack_max").stdout)
    if limit < 2 * PORTS:
        pytest.skip(f"nf_conntrack_max is {limit}, which only the machine's first namespace can raise: "
                    f"sysctl -w net.netfilter.nf_conntrack_max={2 * PORTS}")
    exits.patient(1200)
    return exits


def ask(lab, pod, first, last, tries=5, patience=4):
    """How the connections from these ports are seen, and how many had no answer."""
    return json.loads(run(lab, pod, ASK, TARGET, PORT, first, last, tries, patience, timeout=900))


def answered(lab, pod, first, last):
    """Those of a configuration that has just come into force."""
    return lab.wait_for(lambda: found if (found := ask(lab, pod, first, last))["silent"] == 0 else None)["seen"]


@pytest.mark.long
def test_no_connection_fails_when_the_first_address_runs_out_of_ports(lab, many):
    many.use(f"snat: [{FIRST}, {SECOND}]")
    # The exit's own pods: no tunnel on the way that a busy machine takes for dead.
    asked = [ask(lab, "pod-tethys-1", 1024, 31024), ask(lab, "pod-tethys-2", 1024, 29024)]
    assert [one["silent"] for one in asked] == [0, 0]
    first, second = (sum(one["seen"].get(address, 0) for one in asked) for address in (FIRST, SECOND))
    assert first + second == 58000
    print(f"{first} by the first address, {second} by the second, no failure")
    # From four fifths on; what began while the set was changed may still have the first.
    assert 0.80 * PORTS <= first < 0.85 * PORTS
    line = lab.wait_for(lambda: many.line(FIRST, "udp"))
    assert first <= line["used"] <= first + 100, "lost datagrams may have left a connection behind that nobody counted"
    assert line["available"] == PORTS
    # As the worker has it, which is told once a second.
    metric = re.compile(rf'oceanid_routing_port_budget_used_ratio{{address="{FIRST}",destination="{PLACE}/udp"}} (\S+)')
    lab.wait_for(lambda: (found := metric.search(many.metrics())) and abs(float(found[1]) - line["used"] / PORTS) < 0.001, 10)
    text = f"{FIRST} has taken 80 % of its {PORTS} ports towards {PLACE}/udp: new connections there take {SECOND}"
    assert many.texts().count(text) == 1, many.texts()
    assert len(many.warnings(re.escape(text))) == 1
    assert f"{PLACE}/udp" in lab.oceanid("tethys", "status").stdout
    many.forget()
    over = f"{FIRST} has ports again towards {PLACE}/udp"
    lab.wait_for(lambda: any(over in event for event in many.texts()), 30)
    assert sum(over in event for event in many.texts()) == 1
    assert ask(lab, "pod-tethys-1", 40000, 40010)["seen"] == {FIRST: 10}


@pytest.mark.long
def test_connection_64513_by_one_address_and_by_two(lab, many):
    """Every port of one address towards one place. What finds none is dropped, told to the operator and counted, and never
    sent with another source; with a second address the next ones are answered."""
    many.use(f"snat: {FIRST}")
    before = many.refusals()
    taken = 0
    for pod in ("pod-tethys-1", "pod-tethys-2"):  # one pod's ports are as many, but some are in use
        asked = ask(lab, pod, 1024, 33792, 4, 0.7)
        assert set(asked["seen"]) <= {FIRST}
        taken += asked["seen"].get(FIRST, 0)
    used = many.line(FIRST, "udp")["used"]
    print(f"{taken} of 65536 connections found a port, {many.refusals() - before} refusals")
    assert 0.95 * PORTS < taken <= used <= PORTS
    full = ask(lab, "pod-tethys-1", 40000, 40200, 1, 0.7)
    assert full["silent"] > 100, full
    assert set(full["seen"]) <= {FIRST}
    assert many.refusals() - before >= 100
    assert sum(text.startswith(f"{FIRST} has taken ") and "/udp; from 90 % on" in text for text in many.texts()) == 1
    many.use(f"snat: [{FIRST}, {SECOND}]")
    assert answered(lab, "pod-tethys-1", 42000, 44000) == {SECOND: 2000}
