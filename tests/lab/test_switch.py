"""What becomes of open connections when the exit changes: their clients are reset at once, whatever they are waiting
for, and nobody else is."""
import json
import re
import subprocess
import threading
import time

import pytest

from conftest import EXIT_ADDRESS

TARGET = "192.0.2.12"  # edge.example.test
DATABASE = "192.0.2.130"
WWW = "192.0.2.10"  # www.example.test

# Accepts, and says nothing.
SERVER = r"""
import asyncio, resource, sys
async def hold(reader, writer):
    try:
        await reader.read()
    except OSError:
        pass
async def main():
    server = await asyncio.start_server(hold, sys.argv[1], int(sys.argv[2]), backlog=4096)
    print("ready", flush=True)
    await asyncio.Event().wait()
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
asyncio.run(main())
"""

# Opens N connections, sends nothing, and tells as JSON when the first and the last one ended, and how many were reset.
IDLE = r"""
import json, resource, select, socket, sys, time
address, port, count, patience = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
poll = select.epoll()
streams = {}
for _ in range(count):
    stream = socket.create_connection((address, port), 10)
    streams[stream.fileno()] = stream
    poll.register(stream, select.EPOLLIN)
print("ready", flush=True)
ends, reset, limit = [], 0, time.time() + patience
while len(ends) < count and time.time() < limit:
    for number, _ in poll.poll(0.1):
        poll.unregister(number)
        ends.append(time.time())
        try:
            streams[number].recv(1)
        except ConnectionResetError:
            reset += 1
print(json.dumps({"ended": len(ends), "reset": reset, "first": min(ends, default=0), "last": max(ends, default=0)}), flush=True)
"""

# A session of Postgres, by itself: psql looks at an idle one only when it is asked for something. Signs in by SCRAM-SHA-256
# (RFC 7677) over TLS, asks what it is told to, if anything, and tells as JSON when and how the session ended.
SESSION = r"""
import base64, hashlib, hmac, json, os, socket, ssl, struct, sys, time
plain = socket.create_connection((sys.argv[1], 5432), 5)
plain.sendall(struct.pack("!II", 8, 80877103))
assert plain.recv(1) == b"S"
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stream = context.wrap_socket(plain)
def read(size):
    data = b""
    while len(data) < size:
        got = stream.recv(size - len(data))
        if not got: raise EOFError
        data += got
    return data
def hear():
    kind, size = struct.unpack("!cI", read(5))
    return kind, read(size - 4)
def say(kind, body):
    stream.sendall(kind + struct.pack("!I", len(body) + 4) + body)
def asked(number):
    kind, body = hear()
    assert kind == b"R" and struct.unpack("!I", body[:4])[0] == number, (kind, body)
    return body[4:]
say(b"", struct.pack("!I", 196608) + b"user\0warehouse\0database\0warehouse\0\0")
asked(10)
nonce = base64.b64encode(os.urandom(18)).decode()
first = f"n=,r={nonce}"
hello = ("n,," + first).encode()
say(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(hello)) + hello)
challenge = asked(11).decode()
given = dict(item.split("=", 1) for item in challenge.split(","))
bare = f"c=biws,r={given['r']}"
mac = lambda key, text: hmac.digest(key, text, "sha256")
key = mac(hashlib.pbkdf2_hmac("sha256", os.environ["PGPASSWORD"].encode(), base64.b64decode(given["s"]), int(given["i"])), b"Client Key")
signature = mac(hashlib.sha256(key).digest(), ",".join((first, challenge, bare)).encode())
proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
say(b"p", f"{bare},p={proof}".encode())
asked(12), asked(0)
while hear()[0] != b"Z": pass
if sys.argv[2]: say(b"Q", sys.argv[2].encode() + b"\0")
print("ready", flush=True)
wire = socket.socket(fileno=os.dup(stream.fileno()))  # TLS takes a reset for an end
wire.settimeout(20)
try:
    how = "said something" if wire.recv(1) else "closed"
except OSError as error:
    how = type(error).__name__
print(json.dumps({"ended": time.time(), "how": how}), flush=True)
"""

# Reads 20 kB/s of what a server has without end, and tells as JSON when the connection was taken from it, and whether by
# a reset.
DOWNLOAD = r"""
import json, select, socket, ssl, sys, time
plain = socket.create_connection((sys.argv[1], 443), 5)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
stream = context.wrap_socket(plain, server_hostname="www.example.test")
stream.sendall(b"GET /bytes/50000000 HTTP/1.1\r\nHost: www.example.test\r\n\r\n")
assert stream.recv(12) == b"HTTP/1.1 200"
print("ready", flush=True)
poll = select.poll()
poll.register(stream, 0)  # what is not asked for is told all the same: errors and the end
limit = time.time() + 20
while time.time() < limit and not (told := poll.poll(100)): stream.recv(2000)
print(json.dumps({"ended": time.time(), "reset": bool(told) and bool(told[0][1] & select.POLLERR)}), flush=True)
"""

# One connection that says something every 0.1 s until it is told to stop, and then how often that was answered.
TALK = r"""
import select, socket, sys
stream = socket.create_connection((sys.argv[1], 7844), 10)
print(stream.makefile("r").readline().strip(), flush=True)
answered = 0
while not select.select([sys.stdin], [], [], 0.1)[0]:
    stream.sendall(b"x")
    assert stream.recv(1) == b"x"
    answered += 1
print(answered, flush=True)
"""

# One UDP socket that asks how it is seen, until that is the address given.
UDP = r"""
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7844))
s.settimeout(0.2)
def seen():
    try:
        s.send(b"x")
        return s.recv(100).split()[0].decode()
    except OSError:
        return ""
def until(good, seconds):
    limit = time.time() + seconds
    while not good(found := seen()) and time.time() < limit:
        time.sleep(0.05)
    return found
print(until(bool, 5), flush=True)
print(until(lambda found: found == sys.argv[2], float(sys.argv[3])), flush=True)
"""


class Switches:
    """The moments at which a node's egress table changes, as the kernel tells them."""

    def __init__(self, lab, node):
        self.process = lab.popen(node, "ip", "-ts", "monitor", "route")
        self.found = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        time.sleep(0.5)

    def read(self):
        for line in self.process.stdout:
            change = re.search(r"\[([^\]]+)\] default dev (oc-\w+) table 13128 ", line)
            if change:
                moment = time.mktime(time.strptime(change[1][:19], "%Y-%m-%dT%H:%M:%S"))
                self.found.append((moment + float("0" + change[1][19:]), change[2]))

    def last_to(self, device):
        return max((moment for moment, to in self.found if to == device), default=None)

    def close(self):
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def server(lab):
    process = lab.popen("internet", "/usr/bin/python3", "-c", SERVER, TARGET, "7900")
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    yield TARGET, "7900"
    process.terminate()
    process.wait()


@pytest.fixture
def switches(lab):
    watch = Switches(lab, "styx")
    yield watch
    watch.close()


def start(lab, pod, script, *words, **options):
    process = lab.popen(pod, "/usr/bin/python3", "-c", script, *words, **options)
    return process, process.stdout.readline().strip()


def idle(lab, pod, server, count, patience=60):
    process, said = start(lab, pod, IDLE, *server, str(count), str(patience))
    assert said == "ready", process.stderr.read()
    return process


def result(process, patience=90):
    """What it says last. That may have come along with what it said first, and then communicate() passes it over."""
    process.wait(patience)
    out, errors = process.stdout.read(), process.stderr.read()
    assert out, errors
    return json.loads(out)


class Cut:
    """The exit tethys is cut off, and comes back."""

    def __init__(self, lab):
        self.lab = lab

    def __enter__(self):
        self.lab.fault("cut", "on", "tethys")

    def __exit__(self, *_):
        self.lab.fault("cut", "off", "tethys")


def followed(lab, count):
    """netd knows of that many connections."""
    lab.wait_for(lambda: lab.status("styx")["routing"]["flows"] >= count, 10)


def test_idle_connections_are_reset_within_a_second(lab, server, switches):
    """Also after netd was replaced while they were open; connections that do not leave by that exit live on."""
    client = idle(lab, "pod-styx-1", server, 10)
    lab.run("gateway", "restart", "styx")
    lab.wait_for(lambda: lab.status("styx")["exits"][0]["current"])
    followed(lab, 10)
    pods = lab.popen("pod-calypso-1", "/usr/bin/python3", "-c", SERVER, "0.0.0.0", "7901")
    assert pods.stdout.readline() == "ready\n", pods.stderr.read()
    try:
        inside = idle(lab, "pod-styx-1", (lab.env()["LAB_POD_CALYPSO_1_ADDRESS"], "7901"), 3, 6)
        elsewhere = idle(lab, "pod-meliae-1", server, 3, 6)
        with Cut(lab):
            seen = result(client)
            assert (seen["ended"], seen["reset"]) == (10, 10)
            assert seen["last"] - lab.wait_for(lambda: switches.last_to("oc-meliae")) < 1
            assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["meliae"]
            assert result(inside)["ended"] == 0
            assert result(elsewhere)["ended"] == 0
    finally:
        pods.terminate()
        pods.wait()
    assert lab.leaks() == 0
    status = lab.status("styx")
    assert status["routing"]["flows_reset"] >= 10
    assert any("connections of the former exit were reset" in event["text"] for event in status["events"])


def test_a_database_session_is_reset_within_a_second_while_it_waits_and_while_it_is_idle(lab, switches, capture):
    sessions = []
    for pod, query in (("pod-styx-1", "select pg_sleep(60)"), ("pod-styx-2", "")):
        session, said = start(lab, pod, SESSION, DATABASE, query)
        assert said == "ready", session.stderr.read()
        sessions.append(session)
    followed(lab, 2)
    with Cut(lab):
        found = [result(session) for session in sessions]
        switched = lab.wait_for(lambda: switches.last_to("oc-meliae"))
        assert [one["how"] for one in found] == ["ConnectionResetError"] * 2
        print("reset after", [f"{(one['ended'] - switched) * 1000:.0f} ms" for one in found])
        assert all(one["ended"] - switched < 1 for one in found)
        again, said = start(lab, "pod-styx-1", SESSION, DATABASE, "select 1")
        assert said == "ready" and result(again)["how"] == "said something", "the other exit carries sessions"
    assert capture.only_exits() > 0
    assert lab.leaks() == 0


def test_two_thousand_idle_connections_are_reset_in_a_few_seconds(lab, server, switches):
    client = idle(lab, "pod-styx-1", server, 2000, 30)
    followed(lab, 2000)
    with Cut(lab):
        seen = result(client)
    assert (seen["ended"], seen["reset"]) == (2000, 2000)
    took = seen["last"] - lab.wait_for(lambda: switches.last_to("oc-meliae"))
    print(f"2000 connections were reset within {took * 1000:.0f} ms of the switch")
    assert took < 5
    assert lab.leaks() == 0


def test_a_download_ends_at_once(lab, switches):
    """A client that is being sent to, and has only acknowledgements to say. What has arrived it reads on, at its leisure:
    the moment is that of the news, not of the last byte."""
    client, said = start(lab, "pod-styx-1", DOWNLOAD, WWW)
    assert said == "ready", client.stderr.read()
    followed(lab, 1)
    with Cut(lab):
        seen = result(client)
        assert seen["reset"], seen
        took = seen["ended"] - lab.wait_for(lambda: switches.last_to("oc-meliae"))
        print(f"reset {took * 1000:.0f} ms after the switch")
        assert took < 1
    assert lab.leaks() == 0


def test_udp_goes_on_by_the_other_exit(lab):
    client, first = start(lab, "pod-styx-1", UDP, TARGET, EXIT_ADDRESS["meliae"], "20")
    assert first == EXIT_ADDRESS["tethys"]
    with Cut(lab):
        out, _ = client.communicate(timeout=40)
        assert out.strip() == EXIT_ADDRESS["meliae"]
    assert lab.leaks() == 0


def test_a_planned_return_leaves_connections_where_they_are(lab, server):
    with Cut(lab):
        lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == EXIT_ADDRESS["meliae"])
        talking, seen = start(lab, "pod-styx-1", TALK, TARGET, stdin=subprocess.PIPE)
        assert seen == EXIT_ADDRESS["meliae"]
        silent = idle(lab, "pod-styx-2", server, 5, 120)
        followed(lab, 6)
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == EXIT_ADDRESS["tethys"], 40)
    time.sleep(3)
    out, errors = talking.communicate("\n", timeout=10)
    assert talking.returncode == 0 and int(out) > 20, errors
    silent.terminate()
    assert lab.leaks() == 0
    assert silent.wait(10) != 0, "it would have ended by itself when its connections were reset"
