"""The TLS transport: where UDP is blocked, tunnels go on in TLS over TCP 443, in the same session, and come back by
themselves. The three nodes have it configured for the tests of this file only."""
import json
import re
import subprocess
import time

import pytest

CONFIG = "/etc/oceanid/oceanid.yaml"
RETURN_AFTER = 2  # seconds of UDP that answers, instead of a minute

# Reads from one TLS connection, at 10 MB/s at most, until it is told to stop; then says as JSON when nothing came for
# more than a tenth of a second: [moment at which it ended, length].
BULK = r"""
import json, select, socket, ssl, sys, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
raw = socket.create_connection((sys.argv[1], 443), 10)
stream = context.wrap_socket(raw, server_hostname="www.example.test")
stream.sendall(b"GET /bytes/2000000000 HTTP/1.1\r\nHost: www.example.test\r\nConnection: close\r\n\r\n")
print("ready", flush=True)
gaps, total, last, error = [], 0, time.time(), ""
stream.settimeout(20)
try:
    while not select.select([sys.stdin], [], [], 0)[0]:
        part = stream.recv(65536)
        if not part:
            error = "the server closed"
            break
        now = time.time()
        if now - last > 0.1:
            gaps.append((now, now - last))
        last, total = now, total + len(part)
        time.sleep(len(part) / 10e6)
except OSError as failure:
    error = repr(failure)
print(json.dumps({"gaps": gaps, "total": total, "error": error}), flush=True)
"""

PROXY = ("192.0.2.31", 3128)
# Grants CONNECT to whoever has the password, whatever the name: it goes to the one address that it was given. Says the
# head of each request in one line; ends with its input.
CONNECT_PROXY = r"""
import base64, json, socket, socketserver, sys, threading
wanted = "Basic " + base64.b64encode(b"ls:open sesame").decode()
def pass_on(source, sink):
    try:
        while part := source.recv(65536):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
class Connect(socketserver.BaseRequestHandler):
    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.request.recv(1)
            if not byte:
                return
            head += byte
        lines = head.decode().split("\r\n")
        print(json.dumps(lines[0]), flush=True)
        if f"Proxy-Authorization: {wanted}" not in lines:
            self.request.sendall(b"HTTP/1.1 407 password\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((sys.argv[3], 443), 5) as far:
            far.settimeout(None)
            self.request.sendall(b"HTTP/1.1 200 yes\r\n\r\n")
            back = threading.Thread(target=pass_on, args=(far, self.request), daemon=True)
            back.start()
            pass_on(self.request, far)
            back.join()
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
threading.Thread(target=Server((sys.argv[1], int(sys.argv[2])), Connect).serve_forever, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


class Bulk:
    def __init__(self, lab, pod):
        # A transport that was just changed is proven by an echo before anything leaves by it.
        said = lab.wait_for(lambda: lab.exec(pod, "getent", "ahostsv4", "www.example.test", check=False).stdout)
        address = said.split()[0]
        self.process = lab.popen(pod, "/usr/bin/python3", "-u", "-c", BULK, address, stdin=subprocess.PIPE)
        assert self.process.stdout.readline().strip() == "ready", self.process.stderr.read()

    def result(self):
        out, errors = self.process.communicate("stop\n", timeout=60)
        assert out, errors
        return json.loads(out)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def bulk(tls_lab):
    started = Bulk(tls_lab, "pod-styx-1")
    try:
        yield started
    finally:
        started.close()


def restart(lab, node):
    """With the configuration on disk; a port below 1024 can be had at a start only."""
    lab.fault("kill", "on", node, "all")
    lab.fault("kill", "off", node)


@pytest.fixture(scope="module")
def tls_lab(whole_lab):
    lab = whole_lab
    before = {node: lab.exec(node, "cat", CONFIG).stdout for node in ("tethys", "meliae", "styx")}
    for node in ("tethys", "meliae"):
        text = re.sub(r"^tunnel:\n", 'tunnel:\n  tls: { bind: "[::]:443" }\n', before[node], flags=re.M)
        lab.exec(node, "tee", CONFIG, input=text)
    text = re.sub(r"^( +)endpoint: (\S+):\d+$", r'\1endpoint: \2:51820\n\1tls: { endpoint: "\2:443" }', before["styx"],
                  flags=re.M)
    text = re.sub(r"^tunnel:\n", f"tunnel:\n  return_after: {RETURN_AFTER}s\n", text, flags=re.M)
    assert text.count("tls:") == 2, text
    lab.exec("styx", "tee", CONFIG, input=text)
    lab.reset_leaks()  # what tests of other files caused on purpose
    try:
        for node in before:
            restart(lab, node)
        lab.healthy(40)
        yield lab
    finally:
        lab.fault("drop-udp", "styx", "off")
        for node, text in before.items():
            lab.exec(node, "tee", CONFIG, input=text)
            restart(lab, node)
        lab.healthy(40)


class Proxy:
    """The rung below TLS for styx: to tethys through an HTTP proxy in the internet."""

    def __init__(self, lab):
        self.lab, self.before = lab, lab.exec("styx", "cat", CONFIG).stdout
        lab.exec("internet", "ip", "address", "add", f"{PROXY[0]}/32", "dev", "lo")
        self.process = lab.popen("internet", "/usr/bin/python3", "-c", CONNECT_PROXY, PROXY[0], str(PROXY[1]),
                                 "203.0.113.10", stdin=subprocess.PIPE)

    def up(self):
        assert self.process.stdout.readline() == "ready\n", self.process.stderr.read()
        url = f"http://ls:open%20sesame@{PROXY[0]}:{PROXY[1]}"
        text, changed = re.subn(r'tls: { endpoint: "(tethys\S+)" }', rf'tls: {{ endpoint: "\1", proxy: "{url}" }}', self.before)
        assert changed == 1, self.before
        self.lab.exec("styx", "tee", CONFIG, input=text)
        self.lab.oceanid("styx", "reload")

    def close(self):
        asked, _ = self.process.communicate("", timeout=20)
        self.lab.exec("internet", "ip", "address", "delete", f"{PROXY[0]}/32", "dev", "lo")
        self.lab.exec("styx", "tee", CONFIG, input=self.before)
        self.lab.oceanid("styx", "reload")
        return asked.splitlines()


@pytest.fixture
def proxy(tls_lab):
    started = Proxy(tls_lab)
    try:
        started.up()
        yield started
    finally:
        started.close()


@pytest.fixture
def no_https(tls_lab):
    """What styx itself begins on TCP 443 is dropped, after on()."""
    namespace = tls_lab.env()["LAB_STYX_NETNS"]
    nft = lambda text: subprocess.run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], input=text, text=True, check=True)
    empty = "table inet no_https\ndelete table inet no_https\n"

    class Switch:
        on = staticmethod(lambda: nft(empty + "table inet no_https { chain out { type filter hook output priority -300; "
                                      "tcp dport 443 drop; }\n}\n"))
        off = staticmethod(lambda: nft(empty))
    try:
        yield Switch
    finally:
        nft(empty)


@pytest.fixture(autouse=True)
def by_udp(tls_lab):
    """Each test begins on UDP, and leaves nothing blocked."""
    yield
    tls_lab.fault("drop-udp", "styx", "off")
    tls_lab.wait_for(lambda: transport(tls_lab) == "udp", 90)


def tunnel_of(lab, peer="tethys"):
    return next(one for one in lab.status("styx")["tunnels"] if one["device"] == f"oc-{peer}")


def transport(lab, peer="tethys"):
    return tunnel_of(lab, peer)["transport"]


def test_a_bulk_transfer_survives_blocked_udp_and_its_return(tls_lab, bulk):
    lab = tls_lab
    lab.wait_for(lambda: transport(lab) == "udp", 20)
    if tunnel_of(lab)["handshake_age_seconds"] > 75:  # WireGuard makes a new one every two minutes anyway
        lab.wait_for(lambda: tunnel_of(lab)["handshake_age_seconds"] < 60, 60)
    began, age = time.time(), tunnel_of(lab)["handshake_age_seconds"]
    time.sleep(2)
    known = lab.status("styx")["events"]
    blocked = time.time()
    lab.fault("drop-udp", "styx", "on")
    lab.wait_for(lambda: transport(lab) == "tls", 5, every=0.05)
    time.sleep(4)
    assert transport(lab) == "tls"
    # What the exit sees: the peer comes from its own loopback.
    hub = [one for one in lab.status("tethys")["tunnels"] if one["peer"] == "styx"]
    assert [one["transport"] for one in hub if one["device"] == "oc-hub"] == ["tls"], hub
    # Seconds by which the last handshake is younger than that of the beginning; a snapshot may be old.
    younger = lambda: age + time.time() - began - tunnel_of(lab)["handshake_age_seconds"]
    assert younger() <= 3, "the session is the one from before"
    opened = time.time()
    lab.fault("drop-udp", "styx", "off")
    lab.wait_for(lambda: transport(lab) == "udp", 30, every=0.05)
    returned = time.time()
    time.sleep(3)
    assert transport(lab) == "udp", lab.status("styx")["events"][-8:]
    assert younger() <= 3, "and still after the return"
    seen = bulk.result()
    print("gaps:", [(round(end - blocked, 2), round(length, 2)) for end, length in seen["gaps"]],
          "returned after", round(returned - opened, 2), "s; bytes", seen["total"])
    # Both exits fell silent at once: none was exchanged for the other, which would have cost the connection.
    changes = [event["text"] for event in lab.status("styx")["events"] if event not in known and "exit changed" in event["text"]]
    assert not [text for text in changes if "none" not in text], changes
    assert not seen["error"] and seen["total"] > 20e6, seen
    switch = [length for end, length in seen["gaps"] if blocked <= end < opened]
    back = [length for end, length in seen["gaps"] if end >= opened]
    assert max(switch, default=0) < 3, seen
    assert max(back, default=0) < 0.5, seen
    assert lab.leaks() == 0


def test_metrics_and_events_name_the_transport(tls_lab):
    lab = tls_lab
    lab.fault("drop-udp", "styx", "on")
    lab.wait_for(lambda: transport(lab) == "tls", 10)
    time.sleep(1.5)
    metrics = lab.exec("styx", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout
    assert re.search(r'^oceanid_tunnel_transport\{peer="tethys",transport="tls"\} 1$', metrics, re.M), metrics
    events = [event["text"] for event in lab.status("styx")["events"]]
    assert "the tunnel to tethys goes by tls now, before by udp" in events, events
    assert "tls" in lab.oceanid("styx", "status").stdout


# 7 MB/s for three seconds; says how many datagrams that were.
FLOOD = """
import socket, sys, time
print("begun", flush=True)
begin, sent = time.monotonic(), 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    while time.monotonic() < begin + 3:
        for _ in range(60):
            try:
                out.sendto(bytes(1200), (sys.argv[1], 9))
                sent += 1
            except OSError:
                pass
        time.sleep(0.01)
print(sent, flush=True)
"""


def dropped(lab):
    metrics = lab.exec("styx", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout
    found = re.search(r'^oceanid_tunnel_transport_dropped_total\{peer="tethys"\} (\d+)$', metrics, re.M)
    return int(found[1]) if found else 0


def test_what_tls_would_deliver_too_late_is_dropped_and_counted(tls_lab, no_https):
    lab = tls_lab
    lab.fault("drop-udp", "styx", "on")
    lab.wait_for(lambda: transport(lab) == "tls", 10)
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == "203.0.113.10", 10)
    time.sleep(1.5)  # counters come once a second
    before = dropped(lab)
    flood = lab.popen("pod-styx-1", "/usr/bin/python3", "-u", "-c", FLOOD, "192.0.2.10")
    assert flood.stdout.readline() == "begun\n", flood.stderr.read()
    no_https.on()  # TCP stands still, the queue fills; the exit is not given up within this time
    time.sleep(0.7)
    no_https.off()
    sent = int(flood.communicate(timeout=20)[0])
    time.sleep(1.5)
    late = dropped(lab) - before
    print(late, "of", sent, "dropped")
    assert 100 < late < sent
    assert transport(lab) == "tls"


def test_a_start_in_a_network_without_udp_finds_tls(tls_lab):
    lab = tls_lab
    lab.fault("drop-udp", "styx", "on")
    restart(lab, "styx")
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == "203.0.113.10", 20)
    assert transport(lab) == "tls"


def test_a_restarted_worker_leaves_the_tls_transport_alone_and_a_killed_transport_comes_back(tls_lab):
    lab = tls_lab
    lab.fault("drop-udp", "styx", "on")
    lab.wait_for(lambda: transport(lab) == "tls", 10)
    started = Bulk(lab, "pod-styx-1")
    try:
        time.sleep(1)
        before = lab.pids("styx", "oceanid-tls")
        lab.fault("kill", "on", "styx", "worker")
        time.sleep(2)
        assert lab.pids("styx", "oceanid-tls") == before and len(before) == 1
        killed = time.time()
        lab.fault("kill", "on", "styx", "transport")
        time.sleep(5)
        seen = started.result()
    finally:
        started.close()
    print("gaps:", [(round(end - killed, 2), round(length, 2)) for end, length in seen["gaps"]])
    assert not seen["error"], seen
    assert max((length for end, length in seen["gaps"] if end < killed), default=0) < 0.5, seen
    assert transport(lab) == "tls"
    assert len(lab.pids("styx", "oceanid-tls")) == 1


def test_whoever_has_no_key_learns_nothing(tls_lab):
    """A TLS client without our protocol gets a handshake, not a byte, and an end after some seconds."""
    script = (
        "import socket, ssl, sys, time\n"
        "context = ssl.create_default_context()\n"
        "context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n"
        "stream = context.wrap_socket(socket.create_connection((sys.argv[1], 443), 5))\n"
        "stream.settimeout(20)\n"
        "stream.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')\n"
        "begin = time.time()\n"
        "try:\n"
        "    got = len(stream.recv(100))\n"
        "except (ssl.SSLError, ConnectionError):\n"
        "    got = 0\n"
        "print(stream.version(), got, round(time.time() - begin, 1))\n")
    version, got, seconds = tls_lab.exec("internet", "/usr/bin/python3", "-c", script, "203.0.113.10").stdout.split()
    assert version == "TLSv1.3" and got == "0"
    assert 2 < float(seconds) < 15


def test_the_child_has_no_power(tls_lab):
    """No capability, no root, no way to open a socket."""
    pid = tls_lab.pids("tethys", "oceanid-tls")[0]
    status = dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status", encoding="ascii") if ":\t" in line)
    assert all(int(status[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd")), status
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    assert "0" not in status["Uid"].split()


def test_udp_443_is_taken_when_only_that_passes(tls_lab):
    """The far side redirects it: blocked is WireGuard's own port alone."""
    lab = tls_lab
    namespace = lab.env()["LAB_STYX_NETNS"]
    table = ("table inet blocked { chain out { type filter hook output priority -300; udp dport 51820 drop; }\n"
             "chain in { type filter hook input priority -300; udp sport 51820 drop; }\n}\n")
    subprocess.run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], input=table, text=True, check=True)
    try:
        lab.wait_for(lambda: transport(lab) == "udp-443", 10)
        lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == "203.0.113.10", 10)
    finally:
        subprocess.run(["ip", "netns", "exec", namespace, "nft", "delete", "table", "inet", "blocked"], check=True)


def test_where_only_a_proxy_goes_out_the_tunnel_goes_through_it_and_climbs_back(tls_lab, proxy, no_https, bulk):
    lab = tls_lab
    lab.wait_for(lambda: transport(lab) == "udp", 20)
    no_https.on()
    blocked = time.time()
    lab.fault("drop-udp", "styx", "on")
    lab.wait_for(lambda: transport(lab) == "tls-proxy", 15, every=0.05)
    moved = time.time()
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == "203.0.113.10", 10)
    assert json.loads(proxy.process.stdout.readline()) == "CONNECT tethys.example.test:443 HTTP/1.1"
    time.sleep(2)
    assert transport(lab) == "tls-proxy"
    opened = time.time()
    no_https.off()
    lab.wait_for(lambda: transport(lab) == "tls", 30, every=0.05)
    climbed = time.time()
    lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=2) == "203.0.113.10", 10)
    time.sleep(2)
    seen = bulk.result()
    print("by the proxy after", round(moved - blocked, 2), "s, straight after", round(climbed - opened, 2), "s; gaps:",
          [(round(end - blocked, 2), round(length, 2)) for end, length in seen["gaps"]])
    assert not seen["error"] and seen["total"] > 20e6, seen
    # What was on its way through the proxy is lost, and TCP inside sends it again.
    assert max((length for end, length in seen["gaps"] if end >= opened), default=0) < 1, seen
    assert lab.leaks() == 0
