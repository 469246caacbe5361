"""Whole rulesets and lists of 100,000 elements replaced under traffic, by the running gateway: not one packet of a pod
reaches the internet with a source that is not the exit's, and open connections that stay allowed go on."""

from __future__ import annotations

import ipaddress
import json
import signal
import subprocess

import pytest

NODE, POD = "styx", "pod-styx-1"
EXIT = "203.0.113.10"
SERVICE = "192.0.2.12"  # the echo of UDP and TCP on 7844
CONFIG = "/etc/oceanid/oceanid.yaml"

# A new flow is a new source port: every datagram from a socket of its own. Ends when told, and says how many.
FLOWS = """
import select, socket, sys, time
target, least, rate = (sys.argv[1], 7844), int(sys.argv[2]), int(sys.argv[3])
sent, began = 0, time.monotonic()
while sent < least or not select.select([sys.stdin], [], [], 0)[0]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        try:
            flow.sendto(b"x", target)
            sent += 1
        except OSError:
            pass  # refused at this moment is right, too
    ahead = sent / rate - (time.monotonic() - began)
    if ahead > 0.01: time.sleep(ahead)
print(sent)
"""

# Sources of what arrives for the service, as the wire has it.
CAPTURE = """
import collections, json, select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
target, seen = socket.inet_aton(sys.argv[1]), collections.Counter()
print("ready", flush=True)
while True:
    readable = select.select([wire, sys.stdin], [], [])[0]
    if wire in readable:
        packet, (_, _, kind, _, _) = wire.recvfrom(64)
        if kind != 4 and packet[16:20] == target: seen[socket.inet_ntoa(packet[12:16])] += 1
    elif sys.stdin in readable: break
print(json.dumps(seen))
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
def text(lab):
    """The node's configuration, put back afterwards."""
    kept = lab.exec(NODE, "cat", CONFIG).stdout
    yield kept
    install(lab, kept)
    lab.oceanid(NODE, "reload")
    assert lab.leaks() == 0, lab.run("status").stdout


def install(lab, text):
    lab.exec(NODE, "bash", "-c", f"cat > {CONFIG}.new && mv {CONFIG}.new {CONFIG}", input=text)


def write_list(lab, path, elements):
    lab.exec(NODE, "bash", "-c", f"cat > {path}.new && mv {path}.new {path}", input="\n".join(elements) + "\n")


def hosts(first, count):
    """Every other address of a range that is nobody's here."""
    begin = int(ipaddress.ip_address("11.0.0.0"))
    return [str(ipaddress.ip_address(begin + 2 * i)) for i in range(first, first + count)]


def only_the_exit(capture):
    seen = json.loads(capture.finish().splitlines()[-1])
    assert set(seen) <= {EXIT}, seen
    return seen.get(EXIT, 0)


def test_whole_rulesets_replaced_under_new_flows(lab, text, programs, request):
    long = request.config.getoption("--long")
    replacements, flows = (200, 100_000) if long else (10, 3_000)
    # Who may use our listeners stands in the rules themselves: another range is another structure.
    other = text.replace("proxy:\n", "proxy:\n  clients: [127.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10]\n", 1)
    assert other != text
    capture = programs("internet", CAPTURE, SERVICE)
    assert capture.line() == "ready"
    maker = programs(POD, FLOWS, SERVICE, flows, 2_000)
    before = lab.status(NODE)["routing"]["changes"]
    for number in range(replacements):
        install(lab, other if number % 2 == 0 else text)
        lab.oceanid(NODE, "reload")
    made = int(maker.finish(600 if long else 120))
    assert lab.status(NODE)["routing"]["changes"] - before >= replacements
    assert made >= flows
    assert lab.leaks() == 0, lab.run("status").stdout
    assert only_the_exit(capture) > made / 10, "most of it must have arrived, or nothing was tested"


def test_a_hundred_thousand_elements_replaced_under_load(lab, text, programs):
    path = "/etc/oceanid/bypass.txt"
    size = 100_000
    kept, gone, fresh = hosts(0, size // 2), hosts(size, size // 2), hosts(2 * size, size // 2)
    write_list(lab, path, kept + gone)
    install(lab, text + f"  bypass_file: {path}\n")  # routing is the last section
    lab.oceanid(NODE, "reload")
    talk = programs(POD, TALK, SERVICE)
    assert talk.line() == f"seen {EXIT}"
    capture = programs("internet", CAPTURE, SERVICE)
    assert capture.line() == "ready"
    maker = programs(POD, FLOWS, SERVICE, 2_000, 2_000)
    for elements in (kept + fresh, kept + gone, kept + gone + ["198.18.0.1"], kept):
        write_list(lab, path, elements)
        lab.oceanid(NODE, "reload")
        listed = lab.exec(NODE, "bash", "-c", "nft -n list set inet oceanid exempt4 | grep -o '[0-9]*\\.[0-9.]*' | wc -l")
        assert int(listed.stdout) == len(elements)
    made = int(maker.finish())
    assert made >= 2_000
    answered = talk.finish().splitlines()[-1].split()
    assert answered[0] == "answered" and int(answered[1]) > 0
    assert lab.leaks() == 0, lab.run("status").stdout
    assert only_the_exit(capture) > made / 10


def test_a_list_in_a_file_is_followed(lab, text):
    path = "/etc/oceanid/bypass.txt"
    listed = "nft list set inet oceanid exempt4 2>/dev/null | grep -c 11.0.0.222 || true"
    write_list(lab, path, hosts(0, 100))
    install(lab, text + f"  bypass_file: {path}\n")
    lab.oceanid(NODE, "reload")
    assert lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "0"
    write_list(lab, path, hosts(0, 100) + ["11.0.0.222"])
    lab.wait_for(lambda: lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "1", 20)
    write_list(lab, path, hosts(0, 100) + ["11.0.0.222", "11.0.0.333"])
    lab.wait_for(lambda: f"{path}:102: found" in lab.status(NODE)["configuration_error"], 20)
    assert lab.exec(NODE, "bash", "-c", listed).stdout.strip() == "1", "what runs goes on"
