"""Whole rulesets and lists of 100,000 elements replaced under traffic, by the running gateway, also on the exit: not one
packet of a pod reaches the internet with a source that is not the exit's, and open connections that stay allowed go on."""

from __future__ import annotations

import ipaddress
import json
import select
import signal
import subprocess

import pytest

from conftest import EXIT_ADDRESS

NODE, PODS = "styx", ("pod-styx-1", "pod-styx-2")
EXIT = "203.0.113.10"
SERVICE = "192.0.2.12"  # the echo of UDP and TCP on 7844
PLACES = range(7900, 7908)  # and nothing there
CONFIG, SOCKET = "/etc/oceanid/oceanid.yaml", "/run/oceanid/control.sock"

# Flows that are all new: every datagram has a pair of ports that none before it had, and says its number. Tells once
# enough are on their way, goes on until it is told to end, and says how many it made.
FLOWS = """
import itertools, select, socket, sys, time
name, target, enough, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pairs = itertools.product(range(1024, 65536), map(int, sys.argv[5:]))
sent, began, own, flow = 0, time.monotonic(), 0, None
for source, port in pairs:
    if source != own:
        if flow: flow.close()
        flow, own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), source
        flow.bind(("0.0.0.0", source))
        if select.select([sys.stdin], [], [], max(0, sent / rate - (time.monotonic() - began)))[0]: break
    flow.sendto(f"{name} {source} {port}".encode(), (target, port))
    sent += 1
    if sent == enough: print("enough", flush=True)
print(sent)
"""

# What arrives of them: the number of different ones.
SINK = """
import select, socket, sys
SO_RCVBUFFORCE = 33
poll, arrived = select.epoll(), set()
poll.register(0, select.EPOLLIN)
ports = {}
for port in map(int, sys.argv[2:]):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    sock.bind((sys.argv[1], port))
    ports[sock.fileno()] = sock
    poll.register(sock, select.EPOLLIN)
print("ready", flush=True)
ended = False
while True:
    ready = [number for number, _ in poll.poll(0 if ended else None)]
    for number in ready:
        if number: arrived.add(ports[number].recv(100))
    if ended and not set(ready) - {0}: break
    ended = ended or 0 in ready
print(len(arrived))
"""

# One connection that says something every now and then, and reports how often it was answered.
TALK = """
import select, socket, sys, time
with socket.create_connection((sys.argv[1], 7844), 5) as talk:
    talk.settimeout(8)
    file, answered = talk.makefile("rb"), 0
    print("seen", file.readline().decode().strip(), flush=True)
    while not select.select([sys.stdin], [], [], 0.05)[0]:
        talk.sendall(b"still here\\n")
        assert file.readline() == b"still here\\n"
        answered += 1
print("answered", answered)
"""


# Ends when nft runs in this network namespace.
NFT_RUNS = """
import os, pathlib, time
here = os.readlink("/proc/self/ns/net")
def runs(process):
    try:
        return (process / "comm").read_text() == "nft\\n" and os.readlink(process / "ns/net") == here
    except OSError:
        return False
while not any(runs(process) for process in pathlib.Path("/proc").glob("[0-9]*")): time.sleep(0.02)
"""


# Asks for the gateway's state all the time, until it is told to end.
ASK = """
import select, subprocess, sys
print("asking", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    subprocess.run([sys.argv[1], "status", "--socket", sys.argv[2]], stdout=subprocess.DEVNULL, check=True)
"""


class Program:
    """A script in a namespace of the lab that ends when its standard input does."""

    def __init__(self, lab, who, script, *words):
        self.process = lab.popen(who, "/usr/bin/python3", "-c", script, *map(str, words), stdin=subprocess.PIPE)

    def line(self):
        return self.process.stdout.readline().strip()

    def finish(self, patience=120):
        out, err = self.process.communicate("\n", timeout=patience)
        assert self.process.returncode == 0, err
        return out.strip()

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


@pytest.fixture
def programs(lab):
    started = []

    def start(who, script, *words):
        started.append(Program(lab, who, script, *words))
        return started[-1]
    yield start
    for program in started:
        program.kill()


@pytest.fixture
def revealing(lab):
    """An exit that covers nothing up. Flannel's masquerade would give the right address to what we left untranslated there;
    and what came by the tunnel with a node's address instead of a pod's has lost our rules on its own node."""
    table = f"""table inet labwatch {{
      counter strange {{ }}
      chain c {{
        type filter hook prerouting priority raw;
        iifname "oc-hub" udp dport {PLACES[0]}-{PLACES[-1]} ip saddr != 10.42.0.0/16 counter name strange
      }}
    }}"""
    lab.fault("flannel-flush", "tethys", "on")
    lab.exec("tethys", "nft", table)
    yield
    found = lab.exec("tethys", "nft", "list", "counter", "inet", "labwatch", "strange").stdout
    lab.exec("tethys", "nft", "delete", "table", "inet", "labwatch")
    lab.fault("flannel-flush", "tethys", "off")
    assert "packets 0 " in found, found


@pytest.fixture
def configuration(lab):
    """A node's configuration, put back afterwards."""
    kept = {}

    def read(node):
        kept[node] = lab.exec(node, "cat", CONFIG).stdout
        return kept[node]
    yield read
    for node, text in kept.items():
        install(lab, text, node)
        lab.oceanid(node, "reload")
    assert lab.leaks() == 0, lab.run("status").stdout


def install(lab, text, node=NODE):
    lab.exec(node, "bash", "-c", f"cat > {CONFIG}.new && mv {CONFIG}.new {CONFIG}", input=text)


def write_list(lab, path, elements):
    lab.exec(NODE, "bash", "-c", f"cat > {path}.new && mv {path}.new {path}", input="\n".join(elements) + "\n")


def hosts(first, count):
    """Every other address of a range that is nobody's here."""
    begin = int(ipaddress.ip_address("11.0.0.0"))
    return [str(ipaddress.ip_address(begin + 2 * i)) for i in range(first, first + count)]


class Load:
    """New flows from several pods, all the time, with what arrives of them."""

    def __init__(self, programs, pods, enough, rate):
        self.sink = programs("internet", SINK, SERVICE, *PLACES)
        assert self.sink.line() == "ready"
        share = lambda total: -(-total // len(pods))
        self.makers = [programs(pod, FLOWS, pod, SERVICE, share(enough), share(rate), *PLACES) for pod in pods]
        self.telling = list(self.makers)

    def enough(self):
        """Whether every pod has made its share, without waiting for it."""
        self.telling = [maker for maker in self.telling if not select.select([maker.process.stdout], [], [], 0)[0]]
        return not self.telling

    def finish(self):
        """How many there were, and how many of them arrived."""
        made = sum(int(maker.finish().splitlines()[-1]) for maker in self.makers)
        return made, int(self.sink.finish())


def table_handle(lab, node):
    """Tables are numbered as they are made: what is added to one that stays leaves this as it is."""
    tables = json.loads(lab.exec(node, "nft", "-j", "list", "tables").stdout)["nftables"]
    return next(item["table"]["handle"] for item in tables if item.get("table", {}).get("name") == "oceanid")


@pytest.mark.parametrize("node, pods", [("styx", ("pod-styx-1", "pod-styx-2")), ("tethys", ("pod-styx-1", "pod-calypso-1"))],
                         ids=["where the pods are", "where others' pods leave"])
def test_whole_rulesets_replaced_under_new_flows(lab, configuration, revealing, capture, programs, request, node, pods):
    replacements, flows = (200, 100_000) if request.config.getoption("--long") else (10, 5_000)
    text = configuration(node)
    # Who may use our listeners stands in the rules themselves: another range is another structure.
    other = text.replace("proxy:\n", "proxy:\n  clients: [127.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10]\n", 1)
    assert other != text
    first = table_handle(lab, node)
    load = Load(programs, pods, flows * 11 // 10, 1_500)
    done = 0
    while done < replacements or not load.enough():
        install(lab, other if done % 2 == 0 else text, node)
        lab.oceanid(node, "reload")
        done += 1
    made, arrived = load.finish()
    print(f"{done} replacements, {made} new flows, {arrived} of them arrived")
    assert table_handle(lab, node) - first >= done
    assert capture.only_exits() >= arrived
    assert arrived >= flows and arrived > 0.9 * made, "or too little was tested"
    assert lab.leaks() == 0, lab.run("status").stdout


def test_a_hundred_thousand_elements_replaced_under_load(lab, configuration, revealing, capture, programs):
    path = "/etc/oceanid/bypass.txt"
    size = 100_000
    one, other = hosts(0, size), hosts(size, size)
    write_list(lab, path, one)
    install(lab, configuration(NODE) + f"  bypass_file: {path}\n")  # routing is the last section
    lab.oceanid(NODE, "reload")
    talks = [programs(pod, TALK, SERVICE) for pod in PODS for _ in range(3)]
    assert {talk.line() for talk in talks} == {f"seen {EXIT}"}
    load = Load(programs, PODS, 2_000, 500)
    for elements in (other, one + ["198.18.0.1"], other[:size // 2]):
        write_list(lab, path, elements)
        lab.oceanid(NODE, "reload")
        listed = lab.exec(NODE, "bash", "-c", "nft -n list set inet oceanid exempt4 | grep -o '[0-9]*\\.[0-9.]*'")
        assert set(listed.stdout.split()) == set(elements)
    assert load.enough()
    made, arrived = load.finish()
    print(f"{made} new flows, {arrived} of them arrived")
    for talk in talks:
        answered = talk.finish().splitlines()[-1].split()
        assert answered[0] == "answered" and int(answered[1]) > 20
    assert capture.only_exits() >= arrived
    assert arrived > 0.9 * made, "or too little was tested"
    assert lab.leaks() == 0, lab.run("status").stdout


@pytest.mark.parametrize("asked", [False, True], ids=["by itself", "while its state is being asked for"])
def test_an_exit_that_is_lost_is_left_while_rules_are_replaced(lab, configuration, programs, asked):
    """The change takes seconds, most of them in nft; the switch does not wait for it, and stands when it is over. Whoever
    asks for the state makes the loss known before anybody looks for it: the change that follows from it waits for nft."""
    path, text = "/etc/oceanid/bypass.txt", configuration(NODE)
    other = text.replace("proxy:\n", "proxy:\n  clients: [127.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10]\n", 1)
    write_list(lab, path, hosts(0, 250_000))
    install(lab, text + f"  bypass_file: {path}\n")
    lab.oceanid(NODE, "reload")
    watch = lab.popen(NODE, "timeout", "30", "ip", "-o", "monitor", "route")
    install(lab, other + f"  bypass_file: {path}\n")
    change = lab.popen(NODE, lab.program, "reload", "-c", CONFIG)
    try:
        lab.exec(NODE, "/usr/bin/python3", "-c", NFT_RUNS)
        if asked: assert programs(NODE, ASK, lab.program, SOCKET).line() == "asking"
        lab.fault("cut", "on", "tethys")
        assert any(line.startswith("default dev oc-meliae table 13128 ") for line in watch.stdout), "not left at all"
        assert change.poll() is None, "the change was over first"
        assert change.wait(60) == 0, change.stderr.read()
        assert lab.seen_as(PODS[0]) == EXIT_ADDRESS["meliae"]
    finally:
        lab.fault("cut", "off", "tethys")
        for process in (watch, change):
            process.kill()
            process.wait()
    lab.wait_for(lambda: lab.status(NODE)["exits"][0]["current"], 40)


def test_a_list_in_a_file_is_followed(lab, configuration):
    path = "/etc/oceanid/bypass.txt"
    listed = "nft list set inet oceanid exempt4 2>/dev/null | grep -c 11.0.0.222 || true"
    write_list(lab, path, hosts(0, 100))
    install(lab, configuration(NODE) + f"  bypass_file: {path}\n")
    lab.oceanid(NODE, "reload")
    assert lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "0"
    write_list(lab, path, hosts(0, 100) + ["11.0.0.222"])
    lab.wait_for(lambda: lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "1", 20)
    write_list(lab, path, hosts(0, 100) + ["11.0.0.222", "11.0.0.333"])
    lab.wait_for(lambda: f"{path}:102: found" in lab.status(NODE)["configuration_error"], 20)
    assert lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "1", "what runs goes on"
