"""Interception by transparent listeners: pods that know no proxy, with a real kernel, in network namespaces:

    pod  10.9.1.2 --+ cni0, a bridge                 up0                192.0.2.2 and .3
    peer 10.9.1.3 --+ 10.9.1.1 gateway 198.51.100.1 -- 198.51.100.2 server    (IPv6: fd09:1::/64, 2001:db8:2::/64)

The gateway's host forwards: a packet that goes around the gateway passes its forward hook, where the leak counter counts
what our rules have let through.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

PLAIN = """
node: gateway
state_dir: {folder}/state
run_dir: {folder}/run
log: {{ format: json }}
proxy:
  workers: 1
  listeners:
    - {{ bind: "[::]:{port}", protocol: transparent{intercept} }}
  clients: [10.9.1.0/24, "fd09:1::/64"]
  connect_ports: []
  policy: {{ roles: [ {{ name: pods, match: {{ sources: [10.9.1.0/24, "fd09:1::/64"] }}, allow: ["*"], deny: [denied.example.test] }} ] }}
  guard: {{ allow: [192.0.2.2, "2001:db8:2::2"] }}
  dns: {{ servers: ["198.51.100.2:5353"], timeout: 200ms }}
"""
ROUTED = """
routing:
  sources: [10.9.1.0/24, "fd09:1::/64"]
  interfaces: [cni0]
  bypass: [10.9.1.0/24, 198.51.100.2/32]
  ipv6: exit
exits: [ { name: line, interface: up0, gateway: 198.51.100.2 } ]
"""
INTERCEPT = ', intercept: { sources: [10.9.1.0/24, "fd09:1::/64"], ports: [80, 443], mode: %s }'
SERVER = """
import http.server, socket, ssl, sys, threading
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].removeprefix("::ffff:").encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
class Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
plain, tls = Six(("::", 80), Answer), Six(("::", 443), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
tls.socket = context.wrap_socket(tls.socket, server_side=True, do_handshake_on_connect=False)
def echo(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(("::", port))
    while True:
        data, who = s.recvfrom(2048); s.sendto(data, who)
for one in (plain.serve_forever, tls.serve_forever, lambda: echo(443), lambda: echo(7844)):
    threading.Thread(target=one, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"""
DATAGRAM = """
import socket, sys
family, kind, protocol, _, address = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_DGRAM)[0]
s = socket.socket(family, kind); s.settimeout(5); s.connect(address)
try:
    s.send(b"x"); s.recv(10); print("answered")
except ConnectionRefusedError:
    print("refused")
except OSError as error:
    print(error)
"""
# Says after a word on its standard input that it still wants something.
PATIENT = """
import socket, struct, sys, time
s = socket.create_connection((sys.argv[1], 80), timeout=10)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # nothing of it is sent again in a later test
s.sendall(b"GET / HTTP/1.1\\r\\nHost: a.example.test\\r\\n\\r\\n"); s.recv(4096)
print("open", flush=True); sys.stdin.readline()
for _ in range(20):
    try:
        s.send(b"x")
    except OSError as error:
        print(error); break
    time.sleep(0.1)
"""
# What its side of a dead connection would hear from the kernel of the gateway, lost on the way.
DEAF = """
table inet deaf {
  chain in { type filter hook input priority 0; tcp sport 80 tcp flags fin drop; tcp sport 80 tcp flags rst drop; }
}
"""
LEAKS = """
table inet count
delete table inet count
table inet count {
  counter leaks { }
  chain last {
    type filter hook forward priority filter + 10;
    iifname "cni0" oifname "up0" counter name leaks
  }
}
"""
REFUSED, RESET, EMPTY, SEND, RECEIVE = 7, 35, 52, 55, 56  # curl's exit codes


def sh(*command, **how):
    return subprocess.run(command, check=True, text=True, capture_output=True, **how).stdout


class World:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.names = {who: f"i{os.getpid()}{who}" for who in ("pod", "peer", "gateway", "server")}
        self.running = []
        self.gateway = None
        for name in self.names.values():
            sh("ip", "netns", "add", name)
        self.links()
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
           "-subj", "/CN=example.test", "-addext", "subjectAltName=DNS:*.example.test", "-keyout", f"{folder}/key.pem",
           "-out", f"{folder}/cert.pem")
        for who in ("server", "peer"):
            self.running.append(subprocess.Popen([*self.inside(who), "/usr/bin/python3", "-c", SERVER, str(folder)], text=True,
                                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert self.running[-1].stdout.readline() == "up\n"
        self.log = (folder / "log").open("w+")

    def links(self):
        for name in self.names:
            self.run(name, "ip", "link", "set", "lo", "up")
        self.run("gateway", "ip", "link", "add", "cni0", "type", "bridge")
        for host, who in ((2, "pod"), (3, "peer")):
            sh("ip", "link", "add", f"v{host}", "netns", self.names["gateway"], "type", "veth", "peer", "name", "eth0",
               "netns", self.names[who])
            self.run("gateway", "ip", "link", "set", f"v{host}", "master", "cni0", "up")
            self.address(who, "eth0", f"10.9.1.{host}/24", f"fd09:1::{host}/64")
            self.run(who, "ip", "route", "add", "default", "via", "10.9.1.1")
            self.run(who, "ip", "route", "add", "default", "via", "fd09:1::1")
        sh("ip", "link", "add", "up0", "netns", self.names["gateway"], "type", "veth", "peer", "name", "eth0", "netns",
           self.names["server"])
        self.address("gateway", "cni0", "10.9.1.1/24", "fd09:1::1/64")
        self.address("gateway", "up0", "198.51.100.1/24", "2001:db8:1::1/64")
        self.address("server", "eth0", "198.51.100.2/24", "192.0.2.2/32", "192.0.2.3/32",
                     "2001:db8:1::2/64", "2001:db8:2::2/128")
        for via in (("198.51.100.2", "gateway"), ("2001:db8:1::2", "gateway"), ("198.51.100.1", "server"), ("2001:db8:1::1", "server")):
            self.run(via[1], "ip", "route", "add", "default", "via", via[0])
        self.run("gateway", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def address(self, who, device, *addresses):
        self.run(who, "ip", "link", "set", device, "up")
        for one in addresses:
            self.run(who, "ip", "addr", "add", one, "dev", device, *(["nodad"] if ":" in one else []))

    def inside(self, who):
        return ["ip", "netns", "exec", self.names[who]]

    def run(self, who, *command):
        return sh(*self.inside(who), *command)

    def write(self, intercept=INTERCEPT, port=3130, routed=False, mode="redirect"):
        if "%s" in intercept:
            intercept %= mode
        text = PLAIN.format(folder=self.folder, intercept=intercept, port=port) + (ROUTED if routed else "")
        (self.folder / "oceanid.yaml").write_text(text)

    def start(self, **config):
        self.write(**config)
        self.count()
        self.begin = len(self.text())
        self.gateway = subprocess.Popen([*self.inside("gateway"), self.program, "run", "-c", str(self.folder / "oceanid.yaml")],
                                        stderr=self.log, text=True)
        self.wait_for(lambda: '"accepting"' in self.text()[self.begin:], self.text)
        if config.get("routed"):
            self.wait_for(lambda: json.loads(self.oceanid("status", "--json"))["exits"][0]["usable"], self.text)

    def bridge_calls(self, value):
        for family in ("", "6"):
            self.run("gateway", "sysctl", "-qw", f"net.bridge.bridge-nf-call-ip{family}tables={value}")

    def count(self):
        sh(*self.inside("gateway"), "nft", "-f", "-", input=LEAKS)

    def text(self):
        return (self.folder / "log").read_text()

    def oceanid(self, *words):
        return self.run("gateway", self.program, *words, "-c", str(self.folder / "oceanid.yaml"))

    def reload(self, **config):
        self.write(**config)
        return self.oceanid("reload")

    def processes(self, kind):
        found = []
        for pid in sh("ip", "netns", "pids", self.names["gateway"]).split():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == kind:
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def kill(self):
        """Everything of the gateway at once, as a crash of the container does."""
        self.gateway.send_signal(signal.SIGSTOP)
        for pid in (int(pid) for pid in sh("ip", "netns", "pids", self.names["gateway"]).split()):
            with contextlib.suppress(ProcessLookupError):  # without netd the others end by themselves
                os.kill(pid, signal.SIGKILL)
        self.gateway.wait(20)
        self.wait_for(lambda: not sh("ip", "netns", "pids", self.names["gateway"]).split())

    def stop(self):
        if self.gateway is not None and self.gateway.poll() is None:
            self.gateway.terminate()
            self.gateway.wait(30)

    def clean(self):
        self.stop()
        self.oceanid("down")

    def wait_for(self, what, why=lambda: "", seconds=20):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, why()
            time.sleep(0.05)

    def fetch(self, url, address, patience=10):
        """What the server saw us as, or curl's exit code. No proxy, no settings: only the name's address is given."""
        host, port = url.split("/")[2], 443 if url.startswith("https") else 80
        done = subprocess.run([*self.inside("pod"), "curl", "-sS", "-k", "--noproxy", "*", "-m", str(patience), "--resolve",
                               f"{host}:{port}:{address}", url], text=True, capture_output=True)
        return done.stdout if done.returncode == 0 else done.returncode

    def datagram(self, address, port):
        return self.run("pod", "/usr/bin/python3", "-c", DATAGRAM, address, str(port)).strip()

    def leaks(self):
        out = json.loads(self.run("gateway", "nft", "-j", "reset", "counter", "inet", "count", "leaks"))
        return next(entry["counter"]["packets"] for entry in out["nftables"] if "counter" in entry)

    def rules(self):
        return self.run("gateway", "nft", "list", "ruleset")

    def record(self, **wanted):
        def found():
            for line in self.text()[self.begin:].splitlines():
                entry = json.loads(line) if line.startswith("{") else {}
                if wanted.items() <= entry.items():
                    return entry
            return None
        self.wait_for(found, self.text)
        return found()

    def close(self):
        self.stop()
        for process in self.running:
            process.terminate()
            process.wait(20)
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(scope="module")
def place(program, tmp_path_factory):
    out = World(program, tmp_path_factory.mktemp("intercept"))
    try:
        yield out
    finally:
        out.close()


@pytest.fixture(params=[(mode, routed) for mode in ("redirect", "tproxy") for routed in (False, True)],
                ids=lambda how: f"{how[0]} {'with routing' if how[1] else 'alone'}")
def world(place, request):
    """The gateway, started with an intercepting listener; its rules are gone when the test is."""
    mode, routed = request.param
    place.bridge_calls(0)
    place.start(mode=mode, routed=routed)
    place.leaks()
    place.mode, place.how = mode, dict(mode=mode, routed=routed)
    place.routed = routed
    try:
        yield place
    finally:
        place.clean()


TO = {"redirect": "redirect to", "tproxy": "tproxy ip to"}  # as nft lists the rules
OURS = {"192.0.2.2": "198.51.100.1", "2001:db8:2::2": "2001:db8:1::1"}
WEB = [(url, address) for address in OURS for url in ("https://www.example.test/", "http://www.example.test/")]


def works(world, address="192.0.2.2"):
    return world.fetch("https://www.example.test/", address) == OURS[address]


def test_a_pod_without_settings_is_served(world):
    for bridged in (0, 1) if world.mode == "redirect" else (0,):  # what tproxy does with the other is below
        world.bridge_calls(bridged)
        for url, address in WEB:
            assert world.fetch(url, address) == OURS[address], (bridged, url, address, world.text())
    assert world.record(method="transparent", host="www.example.test", port=443)["verdict"] == "allow"
    # Among themselves, and to the node's own addresses, pods are left alone.
    assert world.fetch("https://www.example.test/", "10.9.1.3") == "10.9.1.2"
    assert world.fetch("http://www.example.test/", "fd09:1::3") == "fd09:1::2"
    assert world.fetch("http://www.example.test/", "10.9.1.1") == REFUSED
    assert world.leaks() == 0


def test_policy_sees_the_name_and_the_guard_the_address(world):
    for url in ("https://denied.example.test/", "http://denied.example.test/"):
        assert world.fetch(url, "192.0.2.2") in (RESET, EMPTY, SEND, RECEIVE)
    assert world.record(host="denied.example.test", port=443)["verdict"] == "deny"
    assert world.fetch("https://guarded.example.test/", "192.0.2.3") in (RESET, RECEIVE)
    assert world.record(host="guarded.example.test", port=443)["error"].endswith("prohibited")
    assert world.leaks() == 0


def test_quic_does_not_go_around(world):
    for address in OURS:
        assert world.datagram(address, 443) == "refused"
    assert world.leaks() == 0
    if not world.routed:
        assert world.datagram("198.51.100.2", 7844) == "answered", "other ports are not ours"


@pytest.mark.parametrize("world", (("redirect", True), ("tproxy", True)), ids=("redirect", "tproxy"), indirect=True)
def test_untouched_are_bypassed_destinations(world):
    assert world.fetch("https://untouched.example.test/", "198.51.100.2") == "198.51.100.1"  # translated on the exit's line
    assert world.leaks() > 0, "it went the pods' own way"
    assert world.datagram("198.51.100.2", 443) == "answered"
    assert "untouched" not in world.text()


def test_without_a_gateway_nothing_leaves_and_the_next_one_serves(world):
    world.kill()
    for url, address in WEB:
        assert world.fetch(url, address) == REFUSED
    assert world.datagram("192.0.2.2", 443) == "refused"
    world.start(**world.how)
    assert works(world)
    assert world.leaks() == 0


def test_a_worker_that_dies_lets_nothing_pass(world):
    for pid in world.processes("oceanid-worker") or pytest.fail("no worker found"):
        os.kill(pid, signal.SIGKILL)
    for url, address in WEB:
        assert world.fetch(url, address, patience=20) == OURS[address]
    assert world.leaks() == 0


@pytest.mark.parametrize("how", ("flush ruleset", "flush table inet oceanid", "flush chain inet oceanid {}"))
def test_rules_that_somebody_flushes_come_back(world, how):
    def table():  # its handle: the repair makes the table anew, and may be done before we look
        return re.search(r"table inet oceanid .*# handle (\d+)", world.run("gateway", "nft", "-a", "list", "ruleset"))

    before = table()[1]
    world.run("gateway", "nft", how.format("intercept" if world.mode == "redirect" else "taken"))
    world.wait_for(lambda: table() and table()[1] != before and TO[world.mode] in world.rules(), world.rules)
    assert works(world)


def test_reload_moves_the_rules_with_the_listener(world):
    world.reload(port=3140, **world.how)
    assert f"{TO[world.mode]} :3140" in world.rules() and ":3130" not in world.rules()
    for address in OURS:
        assert works(world, address)
    assert world.leaks() == 0
    world.reload(port=3140, intercept="", routed=world.routed)
    assert TO[world.mode] not in world.rules()
    world.reload(port=3130, **world.how)
    assert works(world)


def test_reload_changes_how_connections_come_on_the_same_socket(world):
    other = "tproxy" if world.mode == "redirect" else "redirect"
    world.reload(mode=other, routed=world.routed)
    assert f"{TO[other]} :3130" in world.rules() and TO[world.mode] not in world.rules()
    for address in OURS:
        assert works(world, address)
    assert world.leaks() == 0


@pytest.mark.parametrize("world", (("tproxy", False), ("tproxy", True)), ids=("alone", "with routing"), indirect=True)
class TestTproxy:
    def test_answers_are_not_taken_for_the_clients_packets(self, world):
        # With these the look-ups of rp_filter and of the answers carry the packet's mark.
        world.run("gateway", "sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=1", "net.ipv4.tcp_fwmark_accept=1",
                  "net.ipv4.conf.all.rp_filter=1")
        try:
            for address in OURS:
                assert works(world, address)
        finally:
            world.run("gateway", "sysctl", "-qw", "net.ipv4.conf.all.src_valid_mark=0", "net.ipv4.tcp_fwmark_accept=0",
                      "net.ipv4.conf.all.rp_filter=0")

    def test_who_asks_the_listener_itself_is_refused(self, world):
        done = subprocess.run([*world.inside("pod"), "curl", "-sS", "--noproxy", "*", "-m", "10", "http://10.9.1.1:3130/"])
        assert done.returncode in (REFUSED, RESET, EMPTY, SEND, RECEIVE)
        world.record(method="transparent", error="bad_target")

    @pytest.mark.parametrize("address", OURS)
    def test_an_open_connection_never_goes_on_without_the_gateway(self, world, address):
        client = subprocess.Popen([*world.inside("pod"), "/usr/bin/python3", "-c", PATIENT, address], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert client.stdout.readline() == "open\n"
            sh(*world.inside("pod"), "nft", "-f", "-", input=DEAF)
            world.kill()
            rest, _ = client.communicate("go on\n", 30)
            assert rest == "", "it heard of the end after all: nothing was tried"
        finally:
            client.kill()
            client.communicate()
            world.run("pod", "nft", "delete", "table", "inet", "deaf")
        assert world.leaks() == 0
        # The counter would have seen them.
        world.start(**world.how)
        assert works(world, address)

    def test_a_bridge_whose_frames_pass_netfilter_is_refused(self, world):
        world.reload(mode="redirect", routed=world.routed)
        world.bridge_calls(1)
        try:
            world.write(**world.how)
            done = subprocess.run([*world.inside("gateway"), world.program, "reload", "-c", str(world.folder / "oceanid.yaml")],
                                  text=True, capture_output=True)
            assert done.returncode == 1 and "bridge-nf-call-iptables=1" in done.stderr and "mode: redirect" in done.stderr
            assert works(world), "what runs goes on"
            checked = subprocess.run([*world.inside("gateway"), world.program, "check", "--system", "-c",
                                      str(world.folder / "oceanid.yaml")], text=True, capture_output=True)
            assert checked.returncode == 1
            assert any(line.startswith("error") and "bridge-nf-call-iptables=1" in line for line in checked.stdout.splitlines())
            world.stop()
            begin = len(world.text())
            assert subprocess.run([*world.inside("gateway"), world.program, "run", "-c", str(world.folder / "oceanid.yaml")],
                                  stderr=world.log, timeout=20).returncode == 2
            assert "bridge-nf-call-iptables=1" in world.text()[begin:]
        finally:
            world.bridge_calls(0)


@pytest.mark.parametrize("mode", TO)
def test_down_leaves_the_kernel_as_it_was(place, mode):
    def state():
        place.count()  # from zero: what belongs to an ended connection passes once the rules are gone
        every = [("ip", *family, what, "show", *table) for family in ([], ["-6"]) for what, table in (("rule", []), ("route", ["table", "all"]))]
        return [place.rules()] + [sorted(place.run("gateway", *words).splitlines()) for words in every]

    place.clean() if place.gateway else None
    place.bridge_calls(0)
    before = state()
    place.start(mode=mode)
    assert f"{TO[mode]} :3130" in place.rules()
    assert works(place)
    assert place.leaks() == 0
    place.oceanid("down")
    place.gateway.wait(30)
    assert state() == before
    assert place.fetch("https://www.example.test/", "192.0.2.2") == "10.9.1.2"  # and the counter does count
    assert place.leaks() > 0


def test_without_power_it_says_what_it_needs(place):
    place.write()
    done = subprocess.run([*place.inside("gateway"), "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin",
                           place.program, "run", "-c", str(place.folder / "oceanid.yaml")], text=True, capture_output=True, timeout=20)
    assert done.returncode == 2
    assert "intercept need CAP_NET_ADMIN" in done.stderr
