"""Authoritative DNS for example.test on UDP and TCP: A, AAAA, SOA, NS; NXDOMAIN for anything else.

usage: python3 -m labkit.services.dns ADDRESS...
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import socketserver
import struct
import sys
import threading

from labkit import plan

A, NS, SOA, AAAA, OPT, ANY = 1, 2, 6, 28, 41, 255
NOERROR, FORMERR, NXDOMAIN, NOTIMP = 0, 1, 3, 4
TTL = 30
RECORDS = plan.zone_records()


def encode_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def decode_name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while True:
        length = message[at]
        if length > 63:
            raise ValueError("compression in a question")
        at += 1
        if length == 0:
            return ".".join(labels).lower(), at
        labels.append(message[at:at + length].decode("ascii"))
        at += length


def record(owner: bytes, kind: int, data: bytes, ttl: int = TTL) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def soa() -> bytes:
    data = encode_name(f"dns.{plan.ZONE}") + encode_name(f"hostmaster.{plan.ZONE}")
    return record(encode_name(plan.ZONE), SOA, data + struct.pack("!5I", 1, 3600, 600, 86400, 5))


def overrides() -> dict[str, dict[str, list[str]]]:
    """What the fault "moved" says about names, read for every question."""
    try:
        with open(os.environ["LAB_DNS_OVERRIDES"], encoding="ascii") as text:
            return json.load(text)
    except (KeyError, FileNotFoundError):
        return {}


def lookup(name: str, kind: int) -> tuple[int, list[bytes]]:
    owner = b"\xc0\x0c"  # the question's name
    if name == plan.ZONE:
        if kind in (SOA, ANY):
            return NOERROR, [soa()]
        return NOERROR, [record(owner, NS, encode_name(f"dns.{plan.ZONE}"))] if kind == NS else []
    known = overrides().get(name) or RECORDS.get(name)
    if known is None:
        return NXDOMAIN, []
    answers = []
    for code, label in ((A, "A"), (AAAA, "AAAA")):
        if kind in (code, ANY):
            answers += [record(owner, code, ipaddress.ip_address(text).packed) for text in known[label]]
    return NOERROR, answers


def respond(query: bytes) -> bytes | None:
    if len(query) < 12:
        return None
    ident, flags, questions, _, _, additional = struct.unpack("!6H", query[:12])
    if flags & 0x8000:
        return None  # an answer: never answer those
    header = lambda code, answers, authority, extra: struct.pack(
        "!6H", ident, 0x8400 | (flags & 0x0100) | code, 1 if code != FORMERR else 0, answers, authority, extra)
    if flags & 0x7800:
        return struct.pack("!6H", ident, 0x8000 | NOTIMP, 0, 0, 0, 0)
    try:
        if questions != 1:
            raise ValueError("one question only")
        name, end = decode_name(query, 12)
        kind, _ = struct.unpack("!HH", query[end:end + 4])
    except (ValueError, IndexError, struct.error, UnicodeDecodeError):
        return header(FORMERR, 0, 0, 0)
    code, answers = lookup(name, kind)
    authority = [] if answers else [soa()]
    # RFC 6891: an OPT record is answered with one.
    extra = [b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)] if additional else []
    return (header(code, len(answers), len(authority), len(extra)) + query[12:end + 4]
            + b"".join(answers + authority + extra))


class Udp(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        answer = respond(self.request[0])
        if answer:
            self.request[1].sendto(answer, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        while len(size := self.rfile.read(2)) == 2:
            answer = respond(self.rfile.read(struct.unpack("!H", size)[0]))
            if answer is None:
                return
            self.wfile.write(struct.pack("!H", len(answer)) + answer)


def serve(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for base, handler in ((socketserver.UDPServer, Udp), (socketserver.ThreadingTCPServer, Tcp)):
        kind = type("Server", (base,), {"address_family": family, "allow_reuse_address": True, "daemon_threads": True})
        threading.Thread(target=kind((address, 53), handler).serve_forever).start()


if __name__ == "__main__":
    for one in sys.argv[1:]:
        serve(one)
