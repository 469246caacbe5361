"""A node with one gateway, a pod and an internet, in namespaces of this run: what others do to the gateway's kernel state,
how fast it is put back and whether anything got out by the wrong way meanwhile.

The pod sends all the time. The gateway's exit is the link `wan`; the node's own uplink is `eth0`, and nothing of the pod may
ever leave there. `oc-tethys` is a tunnel device of the gateway's own, to a peer that does not exist.
"""

import base64
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import tempfile
import threading
import time

DESTINATION = "203.0.113.10"
CONFIG = """\
node: styx
state_dir: {folder}/state
run_dir: {folder}/run
log: {{ level: info, format: json, access: false }}
proxy: {{ listeners: [{{ bind: "127.0.0.1:3128" }}], user: nobody }}
tunnel:
  private_key_file: {folder}/key
  address: [10.99.0.3]
  backend: userspace
  peers:
    - {{ name: tethys, public_key: "dGV0aHlzLWV4YW1wbGUta2V5LXJlcGxhY2UtbWUtMTI=", endpoint: "192.0.2.1:51820",
        address: [10.99.0.1], networks: [10.42.0.0/24] }}
exits:
  - {{ name: second, interface: wan, gateway: 198.51.100.1, address: [198.51.100.2] }}
routing:
  sources: [10.42.1.0/24]
  interfaces: [cni0]
  bypass: [10.42.0.0/16]
  ipv6: ignore
"""
NODE = """
mount -t tmpfs none /run && mkdir -p /run/wireguard /run/lock
ip link set lo up
ip link add eth0 type veth peer name up0 netns {world}; ip link add wan type veth peer name up1 netns {world}
ip link add pod0 type veth peer name eth0 netns {pod}; ip link add cni0 type bridge; ip link set pod0 master cni0
for link in eth0 wan pod0 cni0; do echo 1 >/proc/sys/net/ipv6/conf/$link/disable_ipv6; ip link set $link up; done
ip address add 192.0.2.2/24 dev eth0; ip address add 198.51.100.2/24 dev wan; ip address add 10.42.1.1/24 dev cni0
ip route add default via 192.0.2.1
echo 1 >/proc/sys/net/ipv4/ip_forward
"""
POD = "ip link set lo up; ip link set eth0 up; ip address add 10.42.1.2/24 dev eth0; ip route add default via 10.42.1.1"
WORLD = """
ip link set lo up; ip link set up0 up; ip link set up1 up
ip address add 192.0.2.1/24 dev up0; ip address add 198.51.100.1/24 dev up1; ip address add {destination}/32 dev lo
nft -f - <<END
table inet watch {{
  counter leaked {{ }}
  counter passed {{ }}
  chain pre {{
    type filter hook prerouting priority raw; policy accept;
    iifname "up0" ip daddr {destination} counter name leaked
    iifname "up1" ip daddr {destination} counter name passed
  }}
}}
END
"""
SENDER = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try: s.sendto(b"x", ("{DESTINATION}", 9))
    except OSError: pass
    n = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try: n.sendto(b"y", ("{DESTINATION}", 9))
    except OSError: pass
    n.close()
    time.sleep(0.002)
"""
# A witness that is not the gateway: the moment of each change of rules, routes, addresses, links and nftables.
WATCH = """
import select, socket, time
RTNETLINK, NFNETLINK = 0, 12
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, RTNETLINK)
nft = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NFNETLINK)
for each in route, nft:
    each.bind((0, 0))
for group in (1, 5, 7, 8, 9, 11, 19):  # RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE
    route.setsockopt(270, 1, group)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP
nft.setsockopt(270, 1, 7)  # NFNLGRP_NFTABLES
print("ready", flush=True)
while True:
    for ready in select.select([route, nft], [], [])[0]:
        try:
            ready.recv(1 << 16)
        except OSError:  # ENOBUFS: the moment still counts
            pass
        print(time.monotonic(), flush=True)
"""
PICTURE = """
ip rule; for t in 13128 13129; do ip route show table $t; done
ip -4 -o address show dev oc-tethys | sed 's/^[0-9]*: //'; cat /sys/class/net/oc-tethys/mtu
nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'
"""
# What others do: one command each.
FAULTS = {
    "nft flush ruleset": "nft flush ruleset",
    "table deleted": "nft delete table inet oceanid",
    "chain flushed": "nft flush chain inet oceanid {chain}",
    "one rule deleted": "ip rule del pref {preference} protocol 131",
    "all rules deleted": "ip rule flush protocol 131",
    "egress table flushed": "ip route flush table 13128",
    "default replaced": "ip route replace default via 192.0.2.1 dev eth0 table 13128 metric {metric}",
    "link's address deleted": "ip address del 10.99.0.3/32 dev oc-tethys",
    "MTU changed": "ip link set oc-tethys mtu 1300",
}
PURGE = """ip route flush table all protocol 131; ip nexthop flush; ip rule flush protocol 131
ip -6 route flush table all protocol 131; ip -6 rule flush protocol 131; true"""


class World:
    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.folder = tempfile.TemporaryDirectory(prefix="oceanid-drift-")
        self.holders = {}
        self.processes = []
        self.gateway = None
        self.lines = queue.Queue()
        self.log = []
        self.changes = []  # moments, as WATCH saw them

    def __enter__(self):
        try:
            for name in ("node", "pod", "world"):
                holder = subprocess.Popen(["unshare", "-n", "-m", "--propagation", "private", "sleep", "infinity"])
                self.holders[name] = holder
                self._separate(holder)
            pids = {name: holder.pid for name, holder in self.holders.items()}
            self.run("world", "true")
            self.sh("node", NODE.format(**pids))
            self.sh("pod", POD)
            self.sh("world", WORLD.format(destination=DESTINATION))
            folder = pathlib.Path(self.folder.name)
            key = folder / "key"
            key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
            key.chmod(0o600)
            (folder / "oceanid.yaml").write_text(CONFIG.format(folder=folder))
            self.processes.append(subprocess.Popen([*self.enter("pod"), "/usr/bin/python3", "-c", SENDER]))
            watcher = subprocess.Popen([*self.enter("node"), "/usr/bin/python3", "-c", WATCH], text=True, stdout=subprocess.PIPE)
            self.processes.append(watcher)
            assert watcher.stdout.readline().strip() == "ready", "the witness did not start"
            threading.Thread(target=self._note, args=(watcher,), daemon=True).start()
            self.start()
            # What went out before there was a gateway is not its business.
            self.run("world", "nft", "reset", "counters", "table", "inet", "watch")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        for pid in self._tunnels():
            os.kill(pid, signal.SIGTERM)
        for process in [*self.processes, *self.holders.values()]:
            process.kill()
            process.wait()
        self.folder.cleanup()

    @staticmethod
    def _separate(holder):
        """unshare has made its namespaces when it has become the program."""
        end = time.monotonic() + 20
        while pathlib.Path(f"/proc/{holder.pid}/comm").read_text().strip() != "sleep":
            assert time.monotonic() < end and holder.poll() is None, "unshare did not start"
            time.sleep(0.01)

    def enter(self, where):
        return ["nsenter", "-n", "-m", "-t", str(self.holders[where].pid)]

    def run(self, where, *words, check=True):
        done = subprocess.run([*self.enter(where), *words], text=True, capture_output=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def sh(self, where, text):
        return self.run(where, "bash", "-ec", text)

    def start(self):
        config = os.path.join(self.folder.name, "oceanid.yaml")
        self.gateway = subprocess.Popen([*self.enter("node"), self.program, "run", "-c", config], text=True,
                                        stderr=subprocess.PIPE)
        threading.Thread(target=self._read, args=(self.gateway,), daemon=True).start()
        self.wait_for(lambda: "default via 198.51.100.1" in self.run("node", "ip", "route", "show", "table", "13128", check=False),
                      "the gateway's routes")
        self.wait_for(lambda: "10.99.0.3" in self.run("node", "ip", "address", "show", "oc-tethys", check=False),
                      "the tunnel device")
        self.settle()
        text = self.run("node", "nft", "list", "table", "inet", "oceanid")
        chains = re.findall(r"chain (\w+) \{\n(.*?)\n\t\}", text, re.S)
        # The chain that holds pods back; its name is the gateway's business.
        self.chain = next(name for name, body in chains if "hook forward" in body)
        rules = json.loads(self.run("node", "ip", "-j", "rule"))
        self.preference = next(rule["priority"] for rule in rules if str(rule.get("table")) == "13128")
        routes = json.loads(self.run("node", "ip", "-j", "route", "show", "table", "13128"))
        self.metric = next(route.get("metric", 0) for route in routes if route.get("gateway") == "198.51.100.1")
        self.picture = self.look()

    def stop(self):
        if self.gateway is None:
            return
        self.gateway.send_signal(signal.SIGTERM)
        try:
            self.gateway.wait(30)
        except subprocess.TimeoutExpired:
            self.gateway.kill()
            self.gateway.wait()
        self.gateway = None

    def _tunnels(self):
        """The tunnels' processes outlive the gateway; those in our node's namespace are ours."""
        if "node" not in self.holders:
            return []
        ours = os.stat(f"/proc/{self.holders['node'].pid}/ns/net").st_ino
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "comm").read_text().strip() == "wireguard-go" and os.stat(folder / "ns/net").st_ino == ours:
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def restart(self):
        """Fresh: the gateway has not repaired anything lately."""
        self.stop()
        self.start()

    def _read(self, gateway):
        for line in gateway.stderr:
            self.log.append(line)
            self.lines.put(line)

    def _note(self, watcher):
        for line in watcher.stdout:
            self.changes.append(float(line))

    def look(self):
        return self.run("node", "bash", "-c", PICTURE)

    def settle(self):
        last = None
        end = time.monotonic() + 30
        while time.monotonic() < end:
            now = self.look()
            if now == last:
                return
            last = now
            time.sleep(0.5)

    def wait_for(self, what, name, seconds=40):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end or self.gateway.poll() is not None:
                raise RuntimeError(f"no sign of {name} within {seconds} s:\n{''.join(self.log[-30:])}")
            time.sleep(0.05)

    def counter(self, name):
        return int(re.search(r"packets (\d+)", self.run("world", "nft", "list", "counter", "inet", "watch", name)).group(1))

    def command(self, fault):
        return FAULTS[fault].format(chain=self.chain, preference=self.preference, metric=self.metric)

    def suffer(self, command, seconds=20):
        """What was told about it, the slowest repair in ms as the gateway counts from the first notice, and the time in ms
        from the first change to the last as the witness saw them: from the damage to the last word of its repair."""
        while not self.lines.empty():
            self.lines.get()
        self.changes.clear()
        began = time.monotonic()
        self.sh("node", command)
        told, slowest = [], 0.0
        while time.monotonic() - began < seconds:
            try:
                line = self.lines.get(timeout=0.02 if told else 0.2)
            except queue.Empty:
                if told and self.changes and self.look() == self.picture:
                    return told, slowest, (self.changes[-1] - self.changes[0]) * 1000
                continue
            found = re.search(r'"(?:msg|message|text)":"([^"]*repaired in ([\d.]+) ms)', line)
            found = found or re.search(r"([^\"]*repaired in ([\d.]+) ms)", line)
            if found:
                told.append(found.group(1))
                slowest = max(slowest, float(found.group(2)))
        raise RuntimeError(f"not repaired within {seconds} s after {command}: {told}\n{self.look()}\ninstead of\n{self.picture}\n"
                           + "".join(self.log[-20:]))
