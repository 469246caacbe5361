"""A real Squid as the parent proxy, in a network namespace of its own: the gateway on 127.0.0.1:3128, Squid on
192.0.2.31:3128 with a password, the server on 192.0.2.80 ports 80 and 443. Only Squid knows the name far.test.
"""
import base64
import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time

import pytest

PASSWORD = "open:se/same"
CONFIG = """
node: gateway
state_dir: {folder}/state
run_dir: {folder}/run
log: {{ format: json, level: debug }}
proxy:
  listeners: [ {{ bind: "127.0.0.1:3128" }}, {{ bind: "127.0.0.1:1080", protocol: socks5 }} ]
  guard: {{ allow: [192.0.2.80] }}
  dns: {{ servers: ["127.0.0.1:53"], timeout: 200ms }}
  parent: http://ls:{password}@192.0.2.31:3128
"""
SQUID = """
http_port 192.0.2.31:3128
visible_hostname parent.invalid
auth_param basic program /usr/lib/squid/basic_ncsa_auth {squid}/users
acl known proxy_auth REQUIRED
acl forbidden port 8443
http_access deny forbidden
http_access allow known
http_access deny all
hosts_file {squid}/hosts
dns_nameservers 127.0.0.1
cache deny all
access_log stdio:{squid}/access.log
cache_log {squid}/cache.log
cache_store_log none
coredump_dir {squid}
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
"""
SERVER = """
import socketserver, sys, threading
class Hello(socketserver.StreamRequestHandler):
    def handle(self):
        while (line := self.rfile.readline()).strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\nhello")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
for port in (80, 443):
    threading.Thread(target=Server(("192.0.2.80", port), Hello).serve_forever, daemon=True).start()
print("up", flush=True)
sys.stdin.read()
"""


class World:
    def __init__(self, program, folder):
        self.program, self.folder, self.running = program, folder, []
        self.name = f"l{os.getpid()}parent"
        subprocess.run(["ip", "netns", "add", self.name], check=True)

    def up(self):
        self.run("ip", "link", "set", "lo", "up")
        for address in ("192.0.2.31", "192.0.2.80"):
            self.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        server = self.start("/usr/bin/python3", "-c", SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdout.readline() == "up\n"
        self.squid = self.folder / "squid"
        self.squid.mkdir()
        account = pwd.getpwnam("proxy")
        os.chown(self.squid, account.pw_uid, account.pw_gid)
        code = subprocess.run(["openssl", "passwd", "-1", "-stdin"], input=PASSWORD, text=True, capture_output=True,
                              check=True).stdout
        (self.squid / "users").write_text(f"ls:{code}")
        (self.squid / "hosts").write_text("192.0.2.80 far.test\n")
        (self.squid / "squid.conf").write_text(SQUID.format(squid=self.squid))
        self.start("squid", "-N", "-f", str(self.squid / "squid.conf"), cwd=self.squid)
        self.wait_for_port("192.0.2.31", 3128)
        self.configure(PASSWORD.replace("/", "%2f"))
        self.log = (self.folder / "log").open("w+")
        self.gateway = self.start(self.program, "run", "-c", self.config, stderr=self.log)
        self.wait_for_port("127.0.0.1", 3128)

    def configure(self, password):
        self.config = str(self.folder / "oceanid.yaml")
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(CONFIG.format(folder=self.folder, password=password))

    def inside(self, *command):
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command, check=True):
        return subprocess.run(self.inside(*command), text=True, capture_output=True, check=check, timeout=60)

    def start(self, *command, **how):
        self.running.append(subprocess.Popen(self.inside(*command), text=True, **how))
        return self.running[-1]

    def wait_for_port(self, host, port):
        ask = f"import socket; socket.create_connection(('{host}', {port}), 1)"
        deadline = time.monotonic() + 20
        while self.run("/usr/bin/python3", "-c", ask, check=False).returncode != 0:
            assert time.monotonic() < deadline, f"{host}:{port} does not open"
            time.sleep(0.05)

    def curl(self, url, *options):
        """The body, then the status of the proxy's answer to CONNECT, then the answer's."""
        return self.run("curl", "-sS", "-m", "20", "-w", " %{http_connect} %{http_code}", *options, url, check=False).stdout

    def record(self, **wanted):
        """The first access record with these fields; waits for it, a thread of its own writes them."""
        deadline = time.monotonic() + 10
        while True:
            text = (self.folder / "log").read_text()
            for line in text.splitlines(keepends=True):
                entry = json.loads(line) if line.startswith("{") and line.endswith("\n") else {}
                if wanted.items() <= entry.items():
                    return entry
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def close(self):
        for process in reversed(self.running):
            process.terminate()
            process.wait(20)
        subprocess.run(["ip", "netns", "del", self.name], check=False)


@pytest.fixture(scope="module")
def world(program, tmp_path_factory):
    assert shutil.which("squid"), "squid is not installed, which tests/run does: deploy/install-packages test"
    folder = tmp_path_factory.mktemp("parent")
    temporary = pathlib.Path(tempfile.gettempdir()).resolve()
    assert folder.is_relative_to(temporary), folder
    for above in (folder, *folder.parents):
        if above == temporary:
            break
        os.chmod(above, os.stat(above).st_mode | 0o055)  # Squid's helper runs under an account of its own
    out = World(program, folder)
    try:
        out.up()
        yield out
    finally:
        out.close()


@pytest.mark.parametrize("name", ["192.0.2.80", "far.test"])
@pytest.mark.parametrize("way", ["tunnel", "plain", "socks5"])
def test_every_way_goes_through_the_parent(world, way, name):
    before = (world.squid / "access.log").read_text().count("CONNECT")
    options = {"tunnel": ["-p", "-x", "http://127.0.0.1:3128"], "plain": ["-x", "http://127.0.0.1:3128"],
               "socks5": ["-x", "socks5h://127.0.0.1:1080"]}[way]
    port = 80 if way == "plain" else 443
    assert world.curl(f"http://{name}:{port}/", *options).split()[0] == "hello"
    deadline = time.monotonic() + 10
    while (world.squid / "access.log").read_text().count("CONNECT") == before:
        assert time.monotonic() < deadline, (world.squid / "access.log").read_text()
        time.sleep(0.05)
    last = [line for line in (world.squid / "access.log").read_text().splitlines() if "CONNECT" in line][-1].split()
    assert last[6:8] == [f"{name}:{port}", "ls"], last


def test_the_guard_still_judges_what_it_can_see(world):
    assert world.curl("http://192.0.2.31:443/", "-p", "-x", "http://127.0.0.1:3128").split() == ["403", "000"]


def test_what_the_parent_refuses_has_its_reason(world):
    assert world.curl("http://192.0.2.80:8443/", "-p", "-x", "http://127.0.0.1:3128").split() == ["403", "000"]
    record = world.record(host="192.0.2.80", port=8443, error="parent_denied")
    assert record["status"] == 403 and record["address"] == "192.0.2.31:3128"


def test_explain_names_the_parent_and_another_password_shows_at_once(world):
    explained = world.run(world.program, "explain", "far.test:443", "-c", world.config, check=False)
    said = explained.stdout + explained.stderr
    assert "through the parent proxy 192.0.2.31:3128" in said and "no address here" in said, said
    outputs = [said, world.run(world.program, "check", "-c", world.config).stdout]
    world.configure("wrong:secret")
    changed = world.run(world.program, "reload", "-c", world.config)
    outputs += [changed.stdout, changed.stderr]
    assert world.curl("http://192.0.2.80:443/", "-p", "-x", "http://127.0.0.1:3128").split() == ["502", "000"]
    assert world.record(error="parent_auth")["status"] == 502
    outputs += [world.run(world.program, "status", "--json", "-c", world.config).stdout,
                world.run("curl", "-sS", "http://127.0.0.1:2000/metrics").stdout, (world.folder / "log").read_text()]
    for secret in (PASSWORD, "open:se%2fsame", "wrong:secret", base64.b64encode(f"ls:{PASSWORD}".encode()).decode(),
                   base64.b64encode(b"ls:wrong:secret").decode()):
        assert not any(secret in text for text in outputs), secret
