"""www.example.test and ip.example.test: HTTP and HTTPS servers.

  /            a line of text                    /ip, or any path of the `ip` role: the caller's address
  /bytes/N     N bytes, always the same ones     /sha256/N: their SHA-256 in hexadecimal
  /upload      POST: answers with size and SHA-256 of the body
  /repo.git/   a git repository (git http-backend)

usage: python3 -m labkit.services.web ROLE CERTIFICATE KEY REPOSITORIES ADDRESS...     (ROLE: www | ip | metadata)
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator

BLOCK = 1 << 16
MOST = 1 << 40


def content(size: int) -> Iterator[bytes]:
    """Deterministic bytes in which no two blocks are alike, so that a lost or repeated block changes the sum."""
    base = hashlib.shake_128(b"oceanid lab").digest(BLOCK - 8)
    index = 0
    while size > 0:
        block = index.to_bytes(8, "big") + base
        yield block[:size] if size < BLOCK else block
        size -= BLOCK
        index += 1


@functools.lru_cache(maxsize=64)
def content_sha256(size: int) -> str:
    total = hashlib.sha256()
    for block in content(size):
        total.update(block)
    return total.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "lab"
    sys_version = ""
    timeout = 300
    role = "www"
    repositories = ""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if self.role == "metadata":
            self.text("this is the cloud's metadata service: a pod that reads this has gone too far\n")
        elif self.role == "ip" or path == "/ip":
            self.text(self.client_address[0].removeprefix("::ffff:") + "\n")
        elif path == "/":
            self.text("hello from www.example.test\n")
        elif path.startswith("/repo.git/"):
            self.git(b"")
        elif (size := self.size_in(path, "/bytes/")) is not None:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(size))
            self.end_headers()
            if self.command == "GET":
                for block in content(size):
                    self.wfile.write(block)
        elif (size := self.size_in(path, "/sha256/")) is not None:
            self.text(content_sha256(size) + "\n")
        else:
            self.text("no such page\n", 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        if self.path.startswith("/repo.git/"):
            self.git(b"".join(self.body()))
            return
        total, size = hashlib.sha256(), 0
        for part in self.body():
            total.update(part)
            size += len(part)
        self.text(f"{size} {total.hexdigest()}\n", 200 if self.path == "/upload" else 404)

    do_PUT = do_POST

    def body(self) -> Iterator[bytes]:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while length := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(length)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return
        left = int(self.headers.get("Content-Length", "0"))
        while left > 0:
            part = self.rfile.read(min(left, BLOCK))
            if not part:
                raise ConnectionError("the body ended early")
            left -= len(part)
            yield part

    def text(self, text: str, status: int = 200) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "GIT_PROJECT_ROOT": self.repositories,
            "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": self.client_address[0],
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }
        out = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True).stdout
        head, _, data = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @staticmethod
    def size_in(path: str, prefix: str) -> int | None:
        number = path.removeprefix(prefix)
        return int(number) if path.startswith(prefix) and number.isdigit() and int(number) <= MOST else None


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, address: str, port: int, handler: type, tls: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.tls = tls
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        # Without HTTPServer's look-up of our own name: there is nobody to ask.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "lab", self.server_address[1]

    def finish_request(self, request: socket.socket, client_address: tuple) -> None:
        # In the connection's own thread: a client that never finishes its TLS handshake holds up nobody else.
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        finally:
            if self.tls is not None:
                self.shutdown_tls(request)

    @staticmethod
    def shutdown_tls(request: ssl.SSLSocket) -> None:
        try:
            request.settimeout(2)
            request.unwrap()
        except (OSError, ValueError):
            pass
        request.close()

    def handle_error(self, request: socket.socket, client_address: tuple) -> None:
        error = sys.exc_info()[1]
        print(f"{client_address[0]}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def main(role: str, certificate: str, key: str, repositories: str, addresses: list[str]) -> None:
    handler = type("Role", (Handler,), {"role": role, "repositories": repositories})
    tls = None
    if role != "metadata":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
    for address in addresses:
        for port in (80, 443) if tls else (80,):
            server = Server(address, port, handler, tls if port == 443 else None)
            threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main(*sys.argv[1:5], sys.argv[5:])
