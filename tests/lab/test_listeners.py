"""Listeners with a real kernel and real clients, in network namespaces of their own:

    client 10.9.1.2 -- 10.9.1.1 gateway 10.9.2.1 -- 10.9.2.2 server      (and fd09:1::/64, fd09:2::/64)
"""
import json
import os
import subprocess
import time

import pytest

CONFIG = """
node: gateway
state_dir: {folder}
run_dir: null
log: {{ format: json }}
proxy:
  listeners:
    - {{ bind: "[::]:3128" }}
    - {{ bind: "[::]:3129", tls: {{ certificate: {folder}/cert.pem, key: {folder}/key.pem }} }}
    - {{ bind: "[::]:1080", protocol: socks5 }}
    - {{ bind: "[::]:3130", protocol: transparent }}
  connect_ports: []
  guard: {{ allow: [10.9.2.2, "fd09:2::2"], deny: [10.9.2.3] }}
  dns: {{ servers: ["10.9.2.2:5353"], timeout: 200ms }}
"""
REDIRECT = """
table inet t {
  chain c {
    type nat hook prerouting priority dstnat;
    iifname "c1" tcp dport { 80, 443, 2222 } redirect to :3130
  }
}
"""
SERVER = """
import socketserver, sys, threading, socket
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        if self.server.server_address[1] == 2222:
            self.request.sendall(b"SSH-2.0-test\\r\\n")
        while True:
            got = self.request.recv(65536)
            if not got: break
            self.request.sendall(("from %s:" % self.client_address[0]).encode() + got)
class Six(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
servers = [Six(("::", port), Echo) for port in (80, 443, 2222)]
for one in servers:
    threading.Thread(target=one.serve_forever, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"""
ASK = """
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
    s.settimeout(5)
    if sys.argv[3]:
        s.sendall(sys.argv[3].encode().decode("unicode_escape").encode("latin-1"))
    print(s.recv(65536).decode("latin-1"))
except (ConnectionResetError, BrokenPipeError):
    print("RESET")
"""


def sh(*command):
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


class World:
    def __init__(self, program, folder):
        self.names = {who: f"l{os.getpid()}{who}" for who in ("client", "gateway", "server")}
        self.running = []
        self.folder = folder
        for name in self.names.values():
            sh("ip", "netns", "add", name)
        for who, link, net in (("client", "c", 1), ("server", "s", 2)):
            sh("ip", "link", "add", f"{link}1", "netns", self.names["gateway"], "type", "veth", "peer", "name",
               f"{link}0", "netns", self.names[who])
            for place, device, host in ((who, f"{link}0", 2), ("gateway", f"{link}1", 1)):
                self.run(place, "ip", "addr", "add", f"10.9.{net}.{host}/24", "dev", device)
                self.run(place, "ip", "addr", "add", f"fd09:{net}::{host}/64", "dev", device, "nodad")
                self.run(place, "ip", "link", "set", device, "up")
                self.run(place, "ip", "link", "set", "lo", "up")
            self.run(who, "ip", "route", "add", "default", "via", f"10.9.{net}.1")
            self.run(who, "ip", "route", "add", "default", "via", f"fd09:{net}::1")
        self.run("server", "ip", "addr", "add", "10.9.2.3/24", "dev", "s0")
        subprocess.run([*self.inside("gateway"), "nft", "-f", "-"], input=REDIRECT, text=True, check=True)
        sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
           "-subj", "/CN=gateway.test", "-addext", "subjectAltName=IP:10.9.1.1", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem")
        server = self.start("server", "/usr/bin/python3", "-c", SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdout.readline() == "up\n"
        (folder / "oceanid.yaml").write_text(CONFIG.format(folder=folder))
        self.log = (folder / "log").open("w+")
        self.gateway = self.start("gateway", program, "run", "-c", str(folder / "oceanid.yaml"), stderr=self.log)
        deadline = time.monotonic() + 10
        while "accepting" not in (folder / "log").read_text():
            assert time.monotonic() < deadline and self.gateway.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)

    def inside(self, who):
        return ["ip", "netns", "exec", self.names[who]]

    def run(self, who, *command):
        return sh(*self.inside(who), *command)

    def start(self, who, *command, **how):
        self.running.append(subprocess.Popen([*self.inside(who), *command], text=True, **how))
        return self.running[-1]

    def ask(self, host, port, words):
        return self.run("client", "/usr/bin/python3", "-c", ASK, host, str(port), words).rstrip("\n")

    def record(self, **wanted):
        """The first access record with these fields; waits for it."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for line in (self.folder / "log").read_text().splitlines():
                entry = json.loads(line) if line.startswith("{") else {}
                if wanted.items() <= entry.items():
                    return entry
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def close(self):
        for process in reversed(self.running):
            process.terminate()
            process.wait(20)
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture(scope="module")
def world(program, tmp_path_factory):
    out = World(program, tmp_path_factory.mktemp("listeners"))
    try:
        yield out
    finally:
        out.close()


@pytest.mark.parametrize("host,ours", [("10.9.2.2", "10.9.2.1"), ("fd09:2::2", "fd09:2::1")])
def test_redirected_connections_reach_where_they_were_going(world, host, ours):
    answer = world.ask(host, 443, "hello")
    assert answer.endswith(f"{ours}:hello"), answer  # dialled by the gateway
    record = world.record(method="transparent", host=host, port=443)
    assert record["verdict"] == "allow" and record["address"].startswith(("10.9.2.2:", "[fd09:2::2]:"))


def test_a_silent_client_gets_the_servers_first_words(world):
    assert world.ask("10.9.2.2", 2222, "").startswith("SSH-2.0-test")


def test_the_guard_judges_the_original_address(world):
    assert world.ask("10.9.2.3", 443, "hello") == "RESET"
    assert world.record(method="transparent", host="10.9.2.3")["error"] == "destination_prohibited"


def test_a_name_that_is_not_the_address_is_reported(world):
    assert "GET" in world.ask("10.9.2.2", 80, r"GET / HTTP/1.1\r\nHost: other.example.test\r\n\r\n")
    record = world.record(method="transparent", host="other.example.test")
    assert record["address"] == "10.9.2.2:80" and "mismatch: other.example.test" in record["rule"]


def test_the_port_itself_is_no_destination(world):
    assert world.ask("10.9.1.1", 3130, "hello") == "RESET"
    assert world.record(method="transparent", error="bad_target")


@pytest.mark.parametrize("way", [
    ["--proxy", "http://10.9.1.1:3128", "--proxytunnel"],
    ["--proxy", "https://10.9.1.1:3129", "--proxy-cacert", "cert.pem", "--proxytunnel"],
    ["--proxy", "socks5://10.9.1.1:1080"],
    ["--proxy", "socks5h://10.9.1.1:1080"],
])
def test_curl_through_every_listener(world, way):
    way = [str(world.folder / "cert.pem") if part == "cert.pem" else part for part in way]
    talk = "printf hello | curl -sS -N --max-time 3 \"$@\" telnet://10.9.2.2:80 || test $? = 28"
    out = world.run("client", "sh", "-c", talk, "curl", *way)
    assert "hello" in out


def test_a_reload_brings_a_new_certificate_and_refuses_a_broken_one(world):
    def shown():
        text = world.run("client", "sh", "-c", "openssl s_client -connect 10.9.1.1:3129 </dev/null 2>/dev/null | openssl x509 -noout -subject")
        return text.strip().split("=")[-1].strip()

    def reload_and_wait(word):
        before = (world.folder / "log").read_text().count(word)
        world.gateway.send_signal(1)
        deadline = time.monotonic() + 10
        while (world.folder / "log").read_text().count(word) == before:
            assert time.monotonic() < deadline, (world.folder / "log").read_text()
            time.sleep(0.05)

    assert shown() == "gateway.test"
    folder = world.folder
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
       "-subj", "/CN=renewed.test", "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem")
    reload_and_wait('"accepting"')
    assert shown() == "renewed.test"
    (folder / "cert.pem").write_text("no certificate")
    reload_and_wait("reload refused")
    assert "cert.pem: holds no PEM certificate" in (folder / "log").read_text()
    assert shown() == "renewed.test"
