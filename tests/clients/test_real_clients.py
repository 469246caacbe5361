"""Programs as people use them, unchanged, through the HTTP, the TLS and the SOCKS5 listener, on loopback.

`good.test` is known to the gateway's name server alone, so what arrives has gone through the gateway. The CONNECTs are
counted in its access record. A program that is not installed is a test that could not run: deploy/install-packages clients.
"""
import contextlib
import http.server
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import threading

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "conformance"))
from kit.proxies import Oceanid, _wait_until_open, free_port  # noqa: E402
from kit.suite import Workspace  # noqa: E402
from kit.world import World  # noqa: E402

HELLO = "hello through the gateway"
PYTHON = "/usr/bin/python3"


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = os.path.join(self.server.folder, self.path.strip("/").split("?")[0])
        exists = os.path.isfile(path)
        body = pathlib.Path(path).read_bytes() if exists else (HELLO + "\n").encode()
        self.send_response(200 if exists or self.path == "/" else 404)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass

    def finish(self):
        super().finish()
        with contextlib.suppress(OSError, ValueError):
            self.connection.settimeout(0.05)
            self.connection.unwrap()  # close_notify: openssl s_client takes an end without it for an attack


class Gateway:
    def __init__(self, program, workspace, world, origin_folder):
        self.workspace, self.world, self.folder = workspace, world, workspace.folder("gateway")
        self.ca = world.certificates.path("ca.pem")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
        self.server.folder = origin_folder
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.certificates.path("server.pem"), world.certificates.path("server.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.authority = f"good.test:{self.server.server_port}"
        self.url = f"https://{self.authority}/"
        self.doors = {name: ("127.0.0.1", free_port()) for name in ("http", "tls", "socks")}
        self.program = workspace.start("oceanid", [program, "run", "-c", self._config()], cwd=self.folder)
        _wait_until_open(self.program, self.doors)

    def _config(self):
        host, port = self.world.names.address
        path = self.world.certificates.path
        rest = {"http": "", "socks": ", protocol: socks5",
                "tls": f", tls: {{ certificate: {path('server.pem')}, key: {path('server.key')} }}"}
        lines = "".join(f'    - {{ bind: "127.0.0.1:{door[1]}"{rest[name]} }}\n' for name, door in self.doors.items())
        name = os.path.join(self.folder, "oceanid.yaml")
        with open(name, "w", encoding="utf-8") as file:
            file.write(f"state_dir: {self.folder}/state\nrun_dir: {self.folder}/run\n"
                       f"admin: {{ bind: \"127.0.0.1:{free_port()}\" }}\nproxy:\n  workers: 1\n  listeners:\n{lines}"
                       f"  connect_ports: []\n  guard: {{ allow: [127.0.0.0/8, 127.0.0.1] }}\n  timeouts: {{ drain: 1s }}\n"
                       f"  dns: {{ servers: [\"{host}:{port}\"] }}\n")
        return name

    def port(self, listener):
        return self.doors[listener][1]

    def proxy(self, listener):
        # curl and its relatives leave the name to the proxy with socks5h.
        scheme = {"http": "http", "tls": "https", "socks": "socks5h"}[listener]
        return f"{scheme}://localhost:{self.port(listener)}"

    def tunnels(self):
        """How many went to the origin, from the access record."""
        with open(self.program.log, encoding="utf-8") as file:
            records = [json.loads(line) for line in file if '"host"' in line]
        return sum(record.get("host") == "good.test" for record in records)


@pytest.fixture(scope="module")
def gateway():
    program = os.environ.get("OCEANID", str(HERE.parents[1] / "build/release/oceanid"))
    Oceanid(program)  # refuses clearly when it is missing
    with Workspace() as workspace:
        world = World(workspace)
        origin_folder = workspace.folder("origin")
        running = Gateway(os.path.abspath(program), workspace, world, origin_folder)
        try:
            yield running
        finally:
            running.server.shutdown()
            running.server.server_close()
            world.close()


def needs(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            pytest.skip(f"{program} is not installed: deploy/install-packages clients")


def needs_python(module):
    if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        pytest.skip(f"Python's {module} is not installed: deploy/install-packages clients")


def run(gateway, *words, timeout=60, **environment):
    keep = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    result = subprocess.run(list(words), text=True, capture_output=True, timeout=timeout, check=False, errors="replace",
                            stdin=subprocess.DEVNULL,
                            env={**keep, "SSL_CERT_FILE": gateway.ca, "GIT_SSL_CAINFO": gateway.ca, "NODE_EXTRA_CA_CERTS": gateway.ca, **environment})
    assert result.returncode == 0, f"{words[0]}: exit {result.returncode}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result.stdout


def variables(gateway, listener):
    return {name: gateway.proxy(listener) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")}


def curl(gateway, listener, _):
    out = run(gateway, "curl", "-sS", "-m", "20", "--cacert", gateway.ca, "--proxy-cacert", gateway.ca, gateway.url,
              gateway.url, **variables(gateway, listener))
    assert out.count(HELLO) == 2
    return HELLO


def wget(gateway, listener, _):
    return run(gateway, "wget", "-q", "-O-", "-T", "20", f"--ca-certificate={gateway.ca}", gateway.url,
               **variables(gateway, listener))


def python_requests(gateway, listener, _):
    needs_python("requests")
    if listener == "socks":
        needs_python("socks")
    return run(gateway, PYTHON, "-c", f"import requests; print(requests.get('{gateway.url}', timeout=20).text)",
               REQUESTS_CA_BUNDLE=gateway.ca, **variables(gateway, listener))


def python_httpx(gateway, listener, _):
    needs_python("httpx")
    if listener == "socks":
        needs_python("socksio")
    proxy = gateway.proxy(listener).replace("socks5h", "socks5")
    return run(gateway, PYTHON, "-c", "import httpx, ssl, sys\n"
               f"c = ssl.create_default_context(cafile='{gateway.ca}')\n"
               f"p = httpx.Proxy('{proxy}')\n"
               f"print(httpx.Client(proxies=p, verify=c, trust_env=True).get('{gateway.url}', timeout=20).text)")


def python_aiohttp(gateway, listener, _):
    needs_python("aiohttp")
    return run(gateway, PYTHON, "-c", "import aiohttp, asyncio\n"
               "async def main():\n async with aiohttp.ClientSession() as s:\n"
               f"  async with s.get('{gateway.url}', proxy='{gateway.proxy(listener)}') as r: print(await r.text())\n"
               "asyncio.run(main())")


def node_agent(gateway, listener, _):
    needs("node")
    script = ("const https=require('https');const {HttpsProxyAgent}=require('https-proxy-agent');"
              f"https.get('{gateway.url}',{{agent:new HttpsProxyAgent('{gateway.proxy(listener)}')}},"
              "r=>{r.on('data',d=>process.stdout.write(d))}).on('error',e=>{console.error(e);process.exit(1)})")
    return run(gateway, "node", "-e", script, NODE_PATH="/usr/share/nodejs:/usr/lib/nodejs")


def node_fetch(gateway, listener, _):
    needs("node")
    script = (f"const {{fetch,ProxyAgent}}=require('undici');fetch('{gateway.url}',"
              f"{{dispatcher:new ProxyAgent('{gateway.proxy(listener)}')}}).then(r=>r.text()).then(t=>console.log(t))"
              ".catch(e=>{console.error(e,e.cause);process.exit(1)})")
    return run(gateway, "node", "-e", script, NODE_PATH="/usr/share/nodejs:/usr/lib/nodejs")


def go(gateway, listener, folder):
    needs("go")
    proxy = gateway.proxy(listener).replace("socks5h", "socks5")
    (folder / "main.go").write_text(
        'package main\nimport ("fmt";"io";"net/http";"os")\nfunc main(){\n'
        ' answer, err := http.Get(os.Args[1])\n if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }\n'
        ' body, _ := io.ReadAll(answer.Body)\n fmt.Print(string(body))\n}\n')
    return run(gateway, "go", "run", str(folder / "main.go"), gateway.url, timeout=300, GOCACHE=str(folder / "cache"),
               GO111MODULE="off", HTTPS_PROXY=proxy, HOME=str(folder))


def java(gateway, listener, folder):
    needs("java", "keytool")
    store = folder / "trust.p12"
    run(gateway, "keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", gateway.ca, "-keystore", str(store),
        "-storepass", "changeit", "-storetype", "PKCS12")
    (folder / "Get.java").write_text(
        "import java.net.*; import java.net.http.*;\npublic class Get { public static void main(String[] a) throws Exception {\n"
        " HttpClient c = HttpClient.newBuilder().proxy(ProxySelector.of(new InetSocketAddress(\"127.0.0.1\","
        " Integer.parseInt(a[1])))).build();\n System.out.println(c.send(HttpRequest.newBuilder(URI.create(a[0])).build(),"
        " HttpResponse.BodyHandlers.ofString()).body()); } }\n")
    return run(gateway, "java", f"-Djavax.net.ssl.trustStore={store}", "-Djavax.net.ssl.trustStorePassword=changeit",
               str(folder / "Get.java"), gateway.url, str(gateway.port(listener)), timeout=180)


def git(gateway, listener, folder):
    """Over the dumb protocol: a repository is files."""
    needs("git")
    source, bare = folder / "source", pathlib.Path(gateway.server.folder) / f"{listener}.git"
    name = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
    run(gateway, "git", "init", "-q", str(source))
    run(gateway, "git", "-C", str(source), *name, "commit", "-q", "--allow-empty", "-m", HELLO)
    run(gateway, "git", "clone", "-q", "--bare", str(source), str(bare))
    run(gateway, "git", "-C", str(bare), "update-server-info")
    proxy = gateway.proxy(listener)
    # TLS inside TLS: libcurl3-gnutls 7.88.1 can leave an answer in the outer session and wait for more on the socket, with any
    # HTTPS proxy (behind socat's TLS it hung 5 times of 5 on a loaded machine). An origin that closes wakes it.
    inner = ["-c", "http.extraHeader=Connection: close"] if listener == "tls" else []
    run(gateway, "git", "-c", f"http.proxy={proxy}", "-c", f"http.sslCAInfo={gateway.ca}", "-c", f"http.proxySSLCAInfo={gateway.ca}", *inner,
        "clone", "-q", f"{gateway.url}{listener}.git", str(folder / "clone"), GIT_SMART_HTTP="0")
    return run(gateway, "git", "-C", str(folder / "clone"), "log", "--format=%s")


@contextlib.contextmanager
def plain_origin(gateway):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.folder = gateway.server.folder
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://good.test:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def apt(gateway, listener, folder):
    needs("apt-get")
    if listener != "tls":
        return apt_from(gateway, gateway.url, gateway.proxy(listener), folder)
    # apt 2.6 waits for ever when an https archive answers through an https proxy, whichever proxy that is (tried: socat before
    # tinyproxy): it looks for bytes in the socket that its outer TLS session has already taken. Debian's archives are plain HTTP.
    with plain_origin(gateway) as url:
        return apt_from(gateway, url, gateway.proxy(listener), folder)


def apt_from(gateway, url, proxy, folder):
    archive = pathlib.Path(gateway.server.folder) / "apt"
    archive.mkdir(exist_ok=True)
    (archive / "Packages").write_text(f"Package: hello\nVersion: 1\nArchitecture: all\nDescription: {HELLO}\n"
                                      "Filename: hello.deb\nSize: 1\nSHA256: " + "0" * 64 + "\n")
    (folder / "sources.list").write_text(f"deb [trusted=yes] {url}apt ./\n")
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    option = []
    for text in (f"Dir::Etc::SourceList={folder}/sources.list", "Dir::Etc::SourceParts=-", f"Dir::State::Lists={folder}/lists",
                 f"Dir::Cache={folder}", f"Acquire::http::Proxy={proxy}", f"Acquire::https::Proxy={proxy}",
                 f"Acquire::https::CAInfo={gateway.ca}", "APT::Sandbox::User=root", "Acquire::Languages=none", "Dir::State::status=/dev/null"):
        option += ["-o", text]
    run(gateway, "apt-get", *option, "update", timeout=120)
    return run(gateway, "apt-cache", *option, "show", "hello")


def npm(gateway, listener, folder):
    needs("npm")
    (pathlib.Path(gateway.server.folder) / "a-package").write_text(json.dumps(
        {"name": "a-package", "description": HELLO, "dist-tags": {"latest": "1.0.0"},
         "versions": {"1.0.0": {"name": "a-package", "version": "1.0.0", "description": HELLO, "dist": {"tarball": gateway.url}}}}))
    return run(gateway, "npm", "view", "a-package", "description", "--registry", gateway.url, "--cafile", gateway.ca,
               "--https-proxy", gateway.proxy(listener), "--proxy", gateway.proxy(listener), timeout=120, HOME=str(folder),
               npm_config_update_notifier="false")


def openssl(gateway, listener, _):
    command = ["openssl", "s_client", "-quiet", "-proxy", f"127.0.0.1:{gateway.port(listener)}", "-connect", gateway.authority,
               "-servername", "good.test", "-CAfile", gateway.ca, "-verify_return_error"]
    result = subprocess.run(command, input=f"GET / HTTP/1.1\r\nHost: {gateway.authority}\r\nConnection: close\r\n\r\n", text=True,
                            capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def ssh(gateway, listener, folder):
    needs("ssh", "sshd", "nc", "ssh-keygen")
    port = free_port()
    for name in ("host", "user"):
        run(gateway, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "sshd").write_text(f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
                                 f"StrictModes no\nUsePAM no\nPidFile none\nForceCommand echo {HELLO}\nPermitRootLogin yes\n")
    os.makedirs("/run/sshd", exist_ok=True)
    server = subprocess.Popen([shutil.which("sshd", path="/usr/sbin"), "-D", "-e", "-f", str(folder / "sshd")],
                              stderr=subprocess.DEVNULL)
    try:
        _wait_until_open(_Alive(server), {"ssh": ("127.0.0.1", port)})
        speaks = {"http": "connect", "socks": "5"}[listener]
        return run(gateway, "ssh", "-F", "none", "-i", str(folder / "user"), "-o", "StrictHostKeyChecking=no", "-o",
                   f"UserKnownHostsFile={folder}/known", "-o", "BatchMode=yes", "-o",
                   f"ProxyCommand=nc -X {speaks} -x 127.0.0.1:{gateway.port(listener)} %h %p", "-p", str(port), "root@good.test", "x")
    finally:
        server.terminate()
        server.wait()


class _Alive:
    name = "sshd"

    def __init__(self, process):
        self.process = process

    def is_alive(self):
        return self.process.poll() is None

    def log_tail(self):
        return ""


def chromium(gateway, listener, folder):
    needs("chromium")
    proxy = gateway.proxy(listener).replace("socks5h", "socks5")
    return run(gateway, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={folder}", f"--proxy-server={proxy}", "--proxy-bypass-list=<-loopback>",
               "--ignore-certificate-errors", "--dump-dom", gateway.url, timeout=120)


# A listener that is not named for a client is one that this client does not speak.
EVERY, WITHOUT_SOCKS, PLAIN = ("http", "tls", "socks"), ("http", "tls"), ("http",)
CLIENTS = {curl: EVERY, wget: PLAIN, python_requests: EVERY, python_httpx: ("http", "socks"), python_aiohttp: WITHOUT_SOCKS,
           node_agent: WITHOUT_SOCKS, node_fetch: WITHOUT_SOCKS, go: EVERY, java: PLAIN, git: EVERY, apt: EVERY,
           npm: PLAIN, openssl: PLAIN, ssh: ("http", "socks"), chromium: EVERY}


@pytest.mark.parametrize("client, listener", [
    pytest.param(client, listener, id=f"{client.__name__}-{listener}") for client, known in CLIENTS.items() for listener in known])
def test_client(gateway, tmp_path, client, listener):
    before = gateway.tunnels()
    assert HELLO in client(gateway, listener, tmp_path)
    for _ in range(200):
        if gateway.tunnels() > before:
            return
        threading.Event().wait(0.05)  # the record is written when the tunnel ends
    raise AssertionError("it did not go through the gateway")
