"""A small cluster that carries out recorded plans (tests/golden/routing) with `ip` and `nft`, without the
gateway: three nodes, their pods, Flannel's VXLAN, a mesh in table 52 and an internet that counts leaks.

Tunnels are TUN devices joined by a thread that routes by allowed networks, as WireGuard does, minus the
cryptography. Names are as on real nodes; every namespace carries the prefix of the world.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import itertools
import json
import os
import pathlib
import selectors
import struct
import subprocess
import sys
import threading
import time

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "routing"
SERVICE = "192.0.2.10"
PUBLIC = "11.0.0.10"  # the same server, where no other address of its first octet is special
METADATA = "169.254.169.254"
CALLER = "198.18.0.1"  # somebody on the internet
PORT = 7844
NODES = {  # pod network, uplink, gateway, tunnel address, mesh address
    "tethys": (0, "203.0.113.10", "203.0.113.1", "10.99.0.1", "100.64.0.1"),
    "meliae": (2, "203.0.113.20", "203.0.113.17", "10.99.0.2", "100.64.0.2"),
    "styx": (1, "198.51.100.30", "198.51.100.17", "10.99.0.3", "100.64.0.3"),
}
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def behind(node: str) -> list[str]:
    return [f"{NODES[node][3]}/32", f"10.42.{NODES[node][0]}.0/24"]


EVERYTHING = ["0.0.0.0/0"]
# (node, device) -> [(allowed networks, far node, far device)]
TUNNELS = {
    ("styx", "oc-tethys"): [(behind("tethys") + EVERYTHING, "tethys", "oc-hub")],
    ("styx", "oc-meliae"): [(behind("meliae") + EVERYTHING, "meliae", "oc-hub")],
    ("tethys", "oc-hub"): [(behind("styx"), "styx", "oc-tethys"), (behind("meliae"), "meliae", "oc-tethys")],
    ("tethys", "oc-meliae"): [(behind("meliae") + EVERYTHING, "meliae", "oc-hub")],
    ("meliae", "oc-hub"): [(behind("styx"), "styx", "oc-meliae"), (behind("tethys"), "tethys", "oc-meliae")],
    ("meliae", "oc-tethys"): [(behind("tethys") + EVERYTHING, "tethys", "oc-hub")],
}
MESH = {(node, "tailscale0"): [([f"{NODES[far][4]}/32"], far, "tailscale0") for far in NODES if far != node] for node in NODES}


def sh(*command: str, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}\n{stdin or ''}")
    return done.stdout


@contextlib.contextmanager
def inside(namespace: str):
    """The calling thread's network namespace, for opening files only."""
    back = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    target = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(target, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        _libc.setns(back, 0x40000000)
        os.close(back)
        os.close(target)


class Wires(threading.Thread):
    """Moves packets between TUN devices by allowed networks."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.files: dict[tuple[str, str], int] = {}
        self.peers: dict[tuple[str, str], list] = {}
        self.check_sources = True
        self.packets = 0
        self.rests = 0  # how often there was nothing to move
        self._selector = selectors.DefaultSelector()
        self._ended = False

    def add(self, namespace: str, key: tuple[str, str], peers: list) -> None:
        with inside(namespace):
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", key[1].encode(), 0x1001))
        self.files[key] = fd
        self.peers[key] = [([ipaddress.ip_network(net) for net in nets], (node, device)) for nets, node, device in peers]
        self._selector.register(fd, selectors.EVENT_READ, key)

    @staticmethod
    def _owner(peers: list, address: ipaddress.IPv4Address):
        hits = [(net.prefixlen, far) for nets, far in peers for net in nets if address in net]
        return max(hits, key=lambda hit: hit[0])[1] if hits else None

    def run(self) -> None:
        while not self._ended:
            events = self._selector.select(0.2)
            self.rests += not events
            for event, _ in events:
                self._move(event.fd, event.data)

    def _move(self, fd: int, key: tuple[str, str]) -> None:
        try:
            packet = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:  # the device was deleted
            self._selector.unregister(fd)
            return
        if packet[0] >> 4 != 4:
            return
        source, target = ipaddress.IPv4Address(packet[12:16]), ipaddress.IPv4Address(packet[16:20])
        far = self._owner(self.peers[key], target)
        if far is None or (self.check_sources and self._owner(self.peers[far], source) != key):
            return
        self.packets += 1
        with contextlib.suppress(OSError):
            os.write(self.files[far], packet)

    def close(self) -> None:
        self._ended = True
        self.join()
        for fd in self.files.values():
            os.close(fd)


SERVER = """
import selectors, socket, sys
s = selectors.DefaultSelector()
t = socket.create_server(('0.0.0.0', int(sys.argv[1])), backlog=64); s.register(t, 1, 'accept')
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind((sys.argv[2], int(sys.argv[1]))); s.register(u, 1, 'udp')
print('ready', flush=True)
while True:
    for key, _ in s.select():
        if key.data == 'accept':
            c, peer = t.accept(); c.sendall(peer[0].encode() + b'\\n'); s.register(c, 1, 'tcp')
        elif key.data == 'udp':
            d, peer = u.recvfrom(2000); u.sendto(peer[0].encode(), peer)
        else:
            try: d = key.fileobj.recv(65536)
            except OSError: d = b''
            if d: key.fileobj.sendall(d)
            else: s.unregister(key.fileobj); key.fileobj.close()
"""

CLIENT = """
import json, socket, sys
kind, host, port, device, source, wait = json.loads(sys.argv[1])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
s.settimeout(wait)
try:
    if device: s.setsockopt(socket.SOL_SOCKET, 25, device.encode())
    if source: s.setsockopt(socket.IPPROTO_IP, 15, 1); s.bind((source, 0))
    s.connect((host, port))
    if kind == 'udp': s.send(b'x')
    print(s.recv(100).decode().strip())
except OSError as error: print('error: ' + (error.strerror or str(error)))
"""


class World:
    def __init__(self) -> None:
        self.prefix = f"ocw{os.getpid()}x{next(_numbers)}-"
        self.wires = Wires()
        self.processes: list[subprocess.Popen] = []
        self.namespaces: list[str] = []

    # -- building ------------------------------------------------------------------------------
    def __enter__(self) -> "World":
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        if self.wires.is_alive():
            self.wires.close()
        for namespace in self.namespaces:
            sh("ip", "netns", "del", namespace, check=False)

    def netns(self, who: str) -> str:
        return self.prefix + who

    def on(self, who: str, *command: str, stdin: str | None = None, check: bool = True) -> str:
        return sh("ip", "netns", "exec", self.netns(who), *command, stdin=stdin, check=check)

    def _new(self, who: str) -> None:
        sh("ip", "netns", "add", self.netns(who))
        self.namespaces.append(self.netns(who))
        self.on(who, "ip", "link", "set", "lo", "up")

    def _build(self) -> None:
        self._new("internet")
        self.on("internet", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        for address in (SERVICE, PUBLIC, METADATA, CALLER):
            self.on("internet", "ip", "addr", "add", f"{address}/32", "dev", "lo")
        for node in NODES:
            self._node(node)
        for node in NODES:
            self._flannel(node)
        for key, peers in {**TUNNELS, **MESH}.items():
            self.wires.add(self.netns(key[0]), key, peers)
        for node in NODES:
            self._mesh(node)
        self.wires.start()
        self.on("internet", "nft", "-f", "-", stdin=LEAK_COUNTER)
        self.serve("internet", SERVICE)

    def serve(self, who: str, address: str) -> None:
        server = subprocess.Popen(["ip", "netns", "exec", self.netns(who), sys.executable, "-c", SERVER, str(PORT), address], stdout=subprocess.PIPE, text=True)
        self.processes.append(server)
        assert server.stdout.readline().strip() == "ready"

    def _node(self, node: str) -> None:
        self._new(node)
        pods, uplink, gateway, _, _ = NODES[node]
        sh("ip", "link", "add", "eth0", "netns", self.netns(node), "type", "veth", "peer", "name", node, "netns", self.netns("internet"))
        self.on("internet", "ip", "addr", "add", f"{gateway}/28", "dev", node)
        self.on("internet", "ip", "link", "set", node, "up")
        self.on(node, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.ipv4.ip_forward=1", "net.ipv4.conf.default.rp_filter=0")
        for line in (f"addr add {uplink}/28 dev eth0", "link set eth0 up", f"route add default via {gateway}", "link add cni0 type bridge",
                     f"addr add 10.42.{pods}.1/24 dev cni0", "link set cni0 up"):
            self.on(node, "ip", *line.split())
        for number in (1, 2):
            pod = f"pod-{node}-{number}"
            self._new(pod)
            sh("ip", "link", "add", "eth0", "netns", self.netns(pod), "type", "veth", "peer", "name", f"veth{number}", "netns", self.netns(node))
            self.on(node, "ip", "link", "set", f"veth{number}", "master", "cni0", "up")
            for line in (f"addr add 10.42.{pods}.{10 + number}/24 dev eth0", "link set eth0 up", f"route add default via 10.42.{pods}.1"):
                self.on(pod, "ip", *line.split())

    def _flannel(self, node: str) -> None:
        pods, uplink = NODES[node][:2]
        self.on(node, "ip", "link", "add", "flannel.1", "address", f"02:42:00:00:00:{pods:02x}", "type", "vxlan", "id", "1", "dstport", "8472", "local", uplink, "nolearning")
        self.on(node, "ip", "addr", "add", f"10.42.{pods}.0/32", "dev", "flannel.1")
        self.on(node, "ip", "link", "set", "flannel.1", "mtu", "1230", "up")
        for far, (other, address, *_) in NODES.items():
            if far == node:
                continue
            mac = f"02:42:00:00:00:{other:02x}"
            self.on(node, "bridge", "fdb", "add", mac, "dev", "flannel.1", "dst", address)
            self.on(node, "ip", "neigh", "add", f"10.42.{other}.0", "lladdr", mac, "dev", "flannel.1", "nud", "permanent")
            self.on(node, "ip", "route", "add", f"10.42.{other}.0/24", "via", f"10.42.{other}.0", "dev", "flannel.1", "onlink")
        self.masquerade(node)

    def masquerade(self, node: str) -> None:
        """Flannel's rules: everything that leaves the pod range gets the node's address."""
        self.on(node, "nft", "-f", "-", stdin=FLANNEL.replace("PODS", str(NODES[node][0])))

    def _mesh(self, node: str) -> None:
        for line in (f"addr add {NODES[node][4]}/32 dev tailscale0", "link set tailscale0 mtu 1280 up",
                     "rule add pref 5210 fwmark 0x80000/0xff0000 lookup main", "rule add pref 5250 fwmark 0x80000/0xff0000 unreachable",
                     "rule add pref 5270 lookup 52", *(f"route add {NODES[far][4]} dev tailscale0 table 52" for far in NODES if far != node)):
            self.on(node, "ip", *line.split())

    # -- plans ---------------------------------------------------------------------------------
    def apply(self, node: str, example: str | None = None) -> None:
        plan = Plan(example or node)
        for device in [key[1] for key in TUNNELS if key[0] == node]:
            self.on(node, "ip", "addr", "replace", f"{NODES[node][3]}/32", "dev", device)
            self.on(node, "ip", "link", "set", device, "mtu", "1420", "up")
        self.on(node, "nft", "-f", "-", stdin=plan.nft)
        for value in plan.sysctls:
            self.on(node, "sysctl", "-qw", value)
        self.remove_rules(node)
        for family in ("-4", "-6"):
            self.on(node, "ip", family, "-batch", "-", stdin="".join(f"route replace {r} proto 131\n" for r in plan.routes[family]))
            self.on(node, "ip", family, "-batch", "-", stdin="".join(f"rule add {r} protocol 131\n" for r in plan.rules[family]))

    def switch(self, node: str, device: str, gateway: str | None = None) -> None:
        way = ["via", gateway, "dev", device, "onlink"] if gateway else ["dev", device]
        self.on(node, "ip", "route", "replace", "default", *way, "table", "13128", "metric", "1024", "proto", "131")

    def remove_rules(self, node: str) -> None:
        for family in ("-4", "-6"):
            for rule in json.loads(self.on(node, "ip", family, "-j", "rule") or "[]"):
                if 5100 <= rule["priority"] <= 5190 or rule["priority"] in (32764, 32765):
                    self.on(node, "ip", family, "rule", "del", "pref", str(rule["priority"]))

    def rp_filter(self, value: int) -> None:
        for node in NODES:
            for device in ("all", "eth0", "cni0", "flannel.1", "tailscale0"):
                self.on(node, "sysctl", "-qw", f"net/ipv4/conf/{device}/rp_filter={value if device != 'all' else min(value, 1)}")

    # -- asking --------------------------------------------------------------------------------
    def seen(self, who: str, kind: str = "tcp", host: str = SERVICE, port: int = PORT, device: str | None = None, source: str | None = None, wait: float = 1.5) -> str:
        return self.on(who, sys.executable, "-c", CLIENT, json.dumps([kind, host, port, device, source, wait])).strip()

    def leaks(self) -> int:
        return self.counter("internet", "leak", "leaks")

    def counter(self, who: str, name: str, table: str = "oceanid") -> int:
        text = json.loads(self.on(who, "nft", "-j", "list", "counter", "inet", table, name))
        return next(item["counter"]["packets"] for item in text["nftables"] if "counter" in item)

    def settle(self) -> None:
        """Until nothing moves in the tunnels any more, so that a late packet is counted."""
        before, rests = -1, self.wires.rests
        while before != self.wires.packets or self.wires.rests < rests + 2:
            before = self.wires.packets
            time.sleep(0.2)


LEAK_COUNTER = f"""table inet leaks {{
  counter leak {{ }}
  counter private {{ }}
  chain watch {{
    type filter hook prerouting priority raw; policy accept;
    ip daddr {{ {SERVICE}, {PUBLIC}, {METADATA} }} ip saddr != {{ 203.0.113.10, 203.0.113.20 }} counter name leak
    ip saddr {{ 10.0.0.0/8, 100.64.0.0/10 }} counter name private
    ip daddr {{ 10.0.0.0/8, 100.64.0.0/10 }} ip protocol != icmp counter name private
  }}
}}
"""

FLANNEL = """table ip flannel {
  chain post {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.42.0.0/16 ip daddr 10.42.0.0/16 return
    ip saddr != 10.42.0.0/16 ip daddr 10.42.PODS.0/24 return
    ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != 10.42.0.0/16 ip daddr 10.42.0.0/16 masquerade fully-random
  }
}
"""


class Plan:
    """A recorded plan, in the words of `ip`, `sysctl` and `nft`."""

    def __init__(self, example: str) -> None:
        head, _, self.nft = (GOLDEN / f"{example}.txt").read_text(encoding="ascii").partition("\nnft\n")
        self.nft, _, self.offload = self.nft.partition("\noffload\n")
        self.rules: dict[str, list[str]] = {"-4": [], "-6": []}
        self.routes: dict[str, list[str]] = {"-4": [], "-6": []}
        self.sysctls: list[str] = []
        part = ""
        for line in head.splitlines():
            if not line.startswith(" "):
                part = line
                continue
            family = "-6" if line.endswith(" (ipv6)") else "-4"
            text = line.strip().removesuffix(" (ipv6)").removesuffix(" (wanted)")
            if part == "rules":
                priority, _, rest = text.partition(": ")
                self.rules[family].insert(0, f"pref {priority} {rest}")  # goto needs its target first
            elif part == "routes":
                self.routes[family].append(text)
            elif part == "sysctls":
                name, _, value = text.partition("=")
                self.sysctls.append(f"{name}={value.split()[0]}")
