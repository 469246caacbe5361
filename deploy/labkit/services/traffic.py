"""What a busy pod does: new TCP and UDP flows and pings all the time, beside connections that stay open.

Runs in a pod until its standard input ends. On standard input: `reset`, and `report`, which is answered by one line
of JSON: kind -> { what came of it: how often }. What came of it is the address that the world saw, `ok` where nobody
tells it, or the name of an error. Kinds: tcp, udp, icmp (each a new flow), tcp-open, udp-open (flows that stay), the
same with a 6 behind it, proxy (a tunnel through the gateway's proxy), and `tried`, the number of attempts by kind.

usage: python3 -m labkit.services.traffic [--six]
"""

from __future__ import annotations

import collections
import errno
import json
import socket
import struct
import sys
import threading
import time

from labkit import plan

PAUSE = 0.1  # between two flows of a kind
PATIENCE = 1.0

counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
lock = threading.Lock()


def record(kind: str, outcome: str) -> None:
    with lock:
        counts[kind][outcome] += 1


def name_of(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)


class Way:
    """The addresses of the services in one family."""

    def __init__(self, six: bool) -> None:
        self.family = socket.AF_INET6 if six else socket.AF_INET
        self.tail = "6" if six else ""
        address = (lambda service: service.address6) if six else (lambda service: service.address4)
        self.edge = (address(plan.SERVICES["edge"]), plan.ECHO_PORT)
        self.www = address(plan.SERVICES["www"])

    def tcp(self) -> str:
        with socket.create_connection(self.edge, PATIENCE) as stream:
            return stream.makefile("r").readline().strip() or "closed"

    def datagram(self, sock: socket.socket) -> str:
        sock.send(b"n")
        return sock.recv(200).split(b" ")[0].decode()

    def udp(self) -> str:
        with self.connected() as sock:
            return self.datagram(sock)

    def connected(self) -> socket.socket:
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE)
        sock.connect(self.edge)
        return sock

    def icmp(self) -> str:
        protocol, kind = (socket.IPPROTO_ICMPV6, 128) if self.tail else (socket.IPPROTO_ICMP, 8)
        with socket.socket(self.family, socket.SOCK_DGRAM, protocol) as sock:
            sock.settimeout(PATIENCE)
            sock.connect((self.www, 0))
            sock.send(struct.pack("!BBHHH", kind, 0, 0, 0, 1) + b"lab")
            sock.recv(200)
        return "ok"


def proxy() -> str:
    host = f"edge.{plan.ZONE}:{plan.ECHO_PORT}"
    with socket.create_connection((plan.GATEWAY_SERVICE, plan.PROXY_PORT), PATIENCE) as stream:
        stream.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        lines = stream.makefile("r")
        status = lines.readline().split(" ")
        while lines.readline().strip():
            pass
        return lines.readline().strip() if status[1:2] == ["200"] else " ".join(status[1:2]) or "closed"


def again_and_again(kind: str, attempt) -> None:
    while True:
        record("tried", kind)
        try:
            record(kind, attempt())
        except (OSError, ValueError) as error:  # ValueError: half an answer
            record(kind, name_of(error))
        time.sleep(PAUSE)


def open_stream(way: Way, kind: str) -> None:
    """One connection for as long as it lives; an end of it is counted, and another one is opened."""
    while True:
        record("tried", kind)
        try:
            with socket.create_connection(way.edge, PATIENCE) as stream:
                lines = stream.makefile("r")
                seen = lines.readline().strip()
                while True:
                    stream.sendall(b"echo\n")
                    if lines.readline() != "echo\n":
                        raise ConnectionError
                    record(kind, seen)
                    time.sleep(PAUSE)
                    record("tried", kind)
        except OSError as error:
            record(kind, name_of(error))
            time.sleep(PAUSE)


def open_datagrams(way: Way, kind: str) -> None:
    """One socket, so one flow of connection tracking, whatever happens to it."""
    sock = None
    while True:
        record("tried", kind)
        try:
            sock = sock or way.connected()
            record(kind, way.datagram(sock))
        except OSError as error:
            record(kind, name_of(error))
        time.sleep(PAUSE)


def main() -> None:
    for six in (False, True) if "--six" in sys.argv else (False,):
        way = Way(six)
        kinds = {"tcp": lambda kind, way=way: again_and_again(kind, way.tcp),
                 "udp": lambda kind, way=way: again_and_again(kind, way.udp),
                 "icmp": lambda kind, way=way: again_and_again(kind, way.icmp),
                 "tcp-open": lambda kind, way=way: open_stream(way, kind),
                 "udp-open": lambda kind, way=way: open_datagrams(way, kind)}
        for kind, work in kinds.items():
            threading.Thread(target=work, args=(kind + way.tail,), daemon=True).start()
    threading.Thread(target=again_and_again, args=("proxy", proxy), daemon=True).start()
    for line in sys.stdin:
        with lock:
            if line.strip() == "reset":
                counts.clear()
            else:
                print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
