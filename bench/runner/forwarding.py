"""Routers in network namespaces for bench/forward: a client, a router and a server each, alike but for the rules.

Three ways through a node, with the plans that the program makes for them (tests/golden/routing):

  self    an exit's own pod, cni0 -> eth0, translated to the exit's address
  exit    another node's pod, out of the hub's tunnel, oc-hub -> eth0, translated as well
  tunnel  a worker's pod, cni0 -> oc-tethys

A veth pair stands in for a tunnel: what is measured is the rules, not WireGuard.
"""

import json
import os
import subprocess

from plan_world import Plan
from runner.worlds import Worlds

RULE = "flannel, rule"  # and one routing rule that does nothing: the kernel then asks rules and tables twice for a packet
KINDS = ("plain", "flannel", RULE, "ours")
FAST = "ours, fast"  # with routing.flowtable or serve_exit.flowtable, where the kernel has flowtables
FAST_PLANS = {"styx": "fast-worker", "tethys": "fast-exit"}
MEASURES = ("tcp1", "tcp8", "udp")
UNIT = {"tcp1": "Gbit/s", "tcp8": "Gbit/s", "udp": "ns/packet"}
# For UDP: packets to a whole network, in which the sets' elements lie as well, but on other addresses. A network of the
# public internet's, as an exit's destinations are; documentation ranges lie beside what an exit refuses.
TARGETS, TARGET_BITS, FLOWS = "11.0.0.0", 24, 4096
SERVER = "11.128.0.2"  # for TCP
SETS = ("near4", "cluster4", "allowed4", "clients4", "sources4")

# path: (plan, client's link on the router, its address there, client, server's link, router's address on it, server's)
PATHS = {
    "self": ("tethys", "cni0", "10.42.0.1/24", "10.42.0.11/24", "eth0", "203.0.113.10/28", "203.0.113.1/28"),
    "exit": ("tethys", "oc-hub", "10.99.0.1/32", "10.42.1.11/24", "eth0", "203.0.113.10/28", "203.0.113.1/28"),
    "tunnel": ("styx", "cni0", "10.42.1.1/24", "10.42.1.11/24", "oc-tethys", "10.99.0.3/32", "10.99.0.1/32"),
}
TUNNELS = {"tethys": ("oc-hub", "oc-meliae"), "styx": ("oc-tethys", "oc-meliae")}

FLANNEL = """table ip flannel-ipv4 {
  chain postrtg {
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr 10.42.0.0/16 ip daddr 10.42.0.0/16 return
    ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ip saddr 10.42.0.0/16 accept
    ip daddr 10.42.0.0/16 accept
  }
}
"""
# Counts what arrived and drops it before it costs more.
SINK = """table ip sink {
  counter seen { }
  chain in {
    type filter hook prerouting priority raw; policy accept;
    udp dport 9 counter name seen drop
  }
}
"""


def has_flowtables():
    probe = "table inet t {\nflowtable f { hook ingress priority 0; devices = { lo }; }\n}\n"
    return subprocess.run(["unshare", "-n", "nft", "-c", "-f", "-"], input=probe, text=True, capture_output=True,
                          check=False).returncode == 0


def kinds():
    return [*KINDS, FAST] if has_flowtables() else list(KINDS)


def measurable(kind, measure):
    """Packets that nobody answers never belong to an established connection."""
    return kind != FAST or measure != "udp"


def with_elements(count):
    return f"{count} elements"


def sh(*command, stdin=None):
    return subprocess.run(command, input=stdin, check=True, text=True, capture_output=True).stdout


class Router:
    def __init__(self, prefix, path, kind):
        self.names = {who: f"{prefix}{who}" for who in ("client", "router", "server")}
        self.path, self.kind = path, kind
        self.plan, self.inner, self.inner_address, self.client, self.outer, self.outer_address, self.server = PATHS[path]
        self.iperf = None

    def on(self, who, *command, stdin=None):
        return sh("ip", "netns", "exec", self.names[who], *command, stdin=stdin)

    def ip(self, who, *lines):
        self.on(who, "ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def build(self):
        for name in self.names.values():
            sh("ip", "netns", "add", name)
            sh("ip", "netns", "exec", name, "ip", "link", "set", "lo", "up")
        self.on("router", "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0",
                "net.ipv4.conf.default.rp_filter=0")
        for link, who in ((self.inner, "client"), (self.outer, "server")):
            sh("ip", "link", "add", link, "netns", self.names["router"], "type", "veth", "peer", "name", "eth0", "netns",
               self.names[who])
        client, server = self.client.split("/")[0], self.server.split("/")[0]
        self.ip("router", f"addr add {self.inner_address} dev {self.inner}", f"link set {self.inner} up",
                f"addr add {self.outer_address} dev {self.outer}", f"link set {self.outer} up",
                f"route replace {server} dev {self.outer}", f"route add default via {server} dev {self.outer} onlink",
                f"route replace {client} dev {self.inner}")
        gateway = self.inner_address.split("/")[0]
        self.ip("client", f"addr add {self.client} dev eth0", "link set eth0 up", f"route replace {gateway} dev eth0",
                f"route add default via {gateway} dev eth0 onlink")
        outer = self.outer_address.split("/")[0]
        self.ip("server", f"addr add {self.server} dev eth0", "link set eth0 up", f"addr add {SERVER}/32 dev lo",
                f"route add local {TARGETS}/{32 - TARGET_BITS} dev lo", f"route replace {outer} dev eth0",
                f"route add default via {outer} dev eth0 onlink")
        for who in ("router", "client", "server"):
            if "oc-" in self.outer and who != "client":
                self.ip(who, f"link set {self.outer if who == 'router' else 'eth0'} mtu 1420")
            if "oc-" in self.inner and who != "server":
                self.ip(who, f"link set {self.inner if who == 'router' else 'eth0'} mtu 1420")
        self.on("server", "nft", "-f", "-", stdin=SINK)
        if self.kind != "plain":
            self.on("router", "nft", "-f", "-", stdin=FLANNEL)
        if self.kind == RULE:
            self.ip("router", "rule add pref 5190 from all nop")
        elif self.kind not in KINDS or self.kind == "ours":
            self.ours()
        self.iperf = subprocess.Popen(["ip", "netns", "exec", self.names["server"], "iperf3", "-s", "-B", SERVER],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ours(self):
        plan = Plan(FAST_PLANS[self.plan] if self.kind == FAST else self.plan)
        for link in {*TUNNELS[self.plan], "cni0", "eth0"} - {self.inner, self.outer}:
            self.ip("router", f"link add {link} type bridge", f"link set {link} up")
        self.on("router", "nft", "-f", "-", stdin=plan.nft)
        for value in plan.sysctls:
            self.on("router", "sysctl", "-qw", value)
        for family in ("-4", "-6"):
            self.on("router", "ip", family, "-batch", "-", stdin="".join(f"route replace {r}\n" for r in plan.routes[family]))
            self.on("router", "ip", family, "-batch", "-", stdin="".join(f"rule add {r}\n" for r in plan.rules[family]))
        if self.plan == "styx":  # a veth has neighbours: one of them, not each destination
            far = self.server.split("/")[0]
            self.ip("router", f"route replace default via {far} dev {self.outer} onlink table 13128 metric 1024")
        if self.kind == FAST:
            self.on("router", "nft", "-f", "-", stdin=plan.offload)
        if self.kind.endswith(" elements"):
            self.fill(int(self.kind.split()[0]))

    def fill(self, count):
        """Elements spread over the targets' network, between the addresses that are sent to. What is decided about a
        packet stays the same; how it is found out does not."""
        step = (1 << TARGET_BITS) // count
        places = (i * step + step // 2 | 1 for i in range(count))
        elements = ", ".join(f"11.{place >> 16}.{place >> 8 & 255}.{place & 255}" for place in places)
        there = {item["set"]["name"] for item in json.loads(self.on("router", "nft", "-j", "list", "sets"))["nftables"]
                 if "set" in item}
        text = "".join(f"add element inet oceanid {name} {{ {elements} }}\n" for name in SETS if name in there)
        self.on("router", "nft", "-f", "-", stdin=text)

    def close(self):
        if self.iperf:
            self.iperf.terminate()
            self.iperf.wait()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


class Routers(Worlds):
    """One of each kind, for one path."""

    def __init__(self, path, kinds, packets):
        self.packets = packets
        super().__init__({kind: Router(f"obf{os.getpid()}-{number}-", path, kind) for number, kind in enumerate(kinds)})

    def measure(self, kind, measure, seconds):
        router = self.worlds[kind]
        return self.packet(router, seconds) if measure == "udp" else self.stream(router, int(measure[3:]), seconds)

    def stream(self, router, streams, seconds):
        said = router.on("client", "iperf3", "-c", SERVER, "-P", str(streams), "-t", str(seconds), "-J")
        return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e9

    def packet(self, router, seconds):
        """Nanoseconds for each packet that arrived."""
        router.on("server", "nft", "reset", "counters", "table", "ip", "sink")
        step = (1 << TARGET_BITS) // FLOWS
        said = router.on("client", self.packets, TARGETS, str(step), str(FLOWS), "18", str(seconds))
        sent, took = map(int, said.split())
        counters = json.loads(router.on("server", "nft", "-j", "list", "counters", "table", "ip", "sink"))["nftables"]
        arrived = next(item["counter"]["packets"] for item in counters if "counter" in item)
        if arrived < 0.9 * sent:
            raise SystemExit(f"{router.path}, {router.kind}: {arrived} of {sent} packets arrived")
        return took / sent
