"""Looks at every packet that comes into the internet from a provider's line, apart from nftables: the leak counter's
second witness.

A packet is right when its source is an exit's address on that exit's own line. It is wrong when it has another source
and goes to a service, or when its source is private, wherever it goes. Everything else (tunnels' and the mesh's outer
packets, the nodes' own questions) is the underlay's.

Runs in `internet` until its standard input ends. On standard input: `reset`, and `report`, which is answered by one
line of JSON: { "right": N, "lost": N, "wrong": { "LINE SOURCE > DESTINATION PROTOCOL": N } }.
PROTOCOL is its number; `6 reset` is a TCP segment of 20 bytes with RST, as a kernel sends for a socket that is gone.

usage: python3 -m labkit.services.capture [LINE=ADDRESS ...]    sources that are right as well
"""

from __future__ import annotations

import collections
import ctypes
import ipaddress
import json
import os
import select
import socket
import struct
import subprocess
import sys

from labkit import plan

SO_RCVBUFFORCE, SO_ATTACH_FILTER, SOL_PACKET, PACKET_STATISTICS = 33, 26, 263, 6
ETH_P_ALL = 3
LINES = {node.name if node.uplink6 else "nat" for node in plan.NODES.values()}
SERVICES = {address for service in plan.counted_services() for address in (service.address4, service.address6)}
# Left out by the kernel: outer packets of tunnels and of the mesh, most of what there is; and Flannel's, which take the
# uplink when somebody has deleted the mesh's routes: the node's own, with private addresses at both ends. A translated
# flow may have such a port by chance, but goes to a service.
OUTER = (plan.TUNNEL_PORT, plan.MESH_PORT, plan.FLANNEL_PORT)
FILTER = (f"(ip or ip6) and (not udp port ({' or '.join(map(str, OUTER))})"
          + "".join(f" or dst host {address}" for address in sorted(SERVICES)) + ")")
ULA = ipaddress.ip_network("fc00::/7")
PRIVATE = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


def listen() -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    text = subprocess.run(["tcpdump", "-ddd", "-y", "EN10MB", FILTER], check=True, capture_output=True, text=True).stdout
    code = [struct.pack("HBBI", *map(int, line.split())) for line in text.splitlines()[1:]]
    program = ctypes.create_string_buffer(b"".join(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(code), ctypes.addressof(program)))
    sock.setblocking(False)
    return sock


def bare_reset(frame: bytes) -> bool:
    """IPv4 without options, TCP without options or data, and RST is set."""
    return frame[14] == 0x45 and frame[16:18] == b"\0\x28" and frame[23] == 6 and len(frame) > 47 and frame[47] & 4 != 0


class Judge:
    def __init__(self, also: list[str]) -> None:
        self.genuine = {(node.name, address) for node in plan.EXITS.values() for address in (node.address4, node.address6)}
        self.genuine |= {tuple(pair.split("=")) for pair in also}
        self.clear()

    def clear(self) -> None:
        self.right = 0
        self.wrong: collections.Counter = collections.Counter()

    def see(self, line: str, frame: bytes) -> None:
        six = frame[12:14] == b"\x86\xdd"
        size, at = (16, 22) if six else (4, 26)
        addresses = [ipaddress.ip_address(frame[at + i * size:at + (i + 1) * size]) for i in (0, 1)]
        source, target = map(str, addresses)
        private = addresses[0] in ULA if six else any(addresses[0] in net for net in PRIVATE)
        if not private and target not in SERVICES:
            return
        if (line, source) in self.genuine:
            self.right += 1
        else:
            what = str(frame[20]) if six else "6 reset" if bare_reset(frame) else str(frame[23])
            self.wrong[f"{line} {source} > {target} {what}"] += 1


def main() -> None:
    sock, judge, lost = listen(), Judge(sys.argv[1:]), 0
    print("ready", flush=True)

    def drain() -> None:
        for _ in range(100000):
            try:
                frame, (line, _, kind, *_) = sock.recvfrom(64)
            except BlockingIOError:
                return
            if line in LINES and kind != socket.PACKET_OUTGOING and len(frame) >= 34:
                judge.see(line, frame)

    while True:
        ready, _, _ = select.select([sock, 0], [], [])
        drain()
        if 0 not in ready:
            continue
        lost += struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        commands = os.read(0, 4096).decode().split()
        if not commands:
            return
        for command in commands:
            if command == "reset":
                judge.clear()
                lost = 0
            else:
                print(json.dumps({"right": judge.right, "lost": lost, "wrong": judge.wrong}), flush=True)


if __name__ == "__main__":
    main()
