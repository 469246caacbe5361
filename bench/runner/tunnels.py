"""Pairs of network namespaces with a tunnel between them, for bench/tunnel: kept by Oceanid, or set up by hand."""

import json
import os
import shutil
import subprocess
import tempfile
import time

from runner.worlds import Worlds

OVERHEAD = 60  # of a packet of WireGuard's over IPv4: 20 + 8 + 32
PORT = 51820
OWN, PEER = "10.99.0.1", "10.99.0.2"  # inside
LAB = {"near": "192.0.2.1", "far": "192.0.2.2"}

TRACKED, EXIT = "tracked", "exit"
# Whoever asks for a connection's state turns connection tracking on.
TRACKING = "table inet bench { chain input { type filter hook input priority 0; ct state invalid drop; }; }"


class Trouble(Exception):
    pass


def sh(*command, stdin=None):
    return subprocess.run(command, input=stdin, check=True, text=True, capture_output=True).stdout


def version(options):
    if options.backend == "kernel":
        return f"kernel {os.uname().release}"
    return sh(options.wireguard_go, "--version").splitlines()[0]


class Pair:
    """near dials far. `what`: "ours", a number for ours with tunnel.mtu, or None for one by hand, as large as fits; TRACKED: the
    same, with connection tracking, as on every node of a cluster; EXIT: ours, where far is an exit, which needs that."""

    def __init__(self, options, prefix, what, path, offload):
        self.tracked = what == TRACKED
        self.is_exit = what == EXIT
        what = None if self.tracked else "ours" if self.is_exit else what
        self.options, self.what, self.path, self.offload = options, what, path, offload
        self.names = {side: f"{prefix}{side}" for side in LAB}
        self.folder = tempfile.mkdtemp(prefix="oceanid-bench-")
        self.processes = []
        self.device = {"near": "oc-far", "far": "oc-hub"} if what else dict.fromkeys(LAB, "wg0")

    def on(self, side, *command, stdin=None):
        return sh("ip", "netns", "exec", self.names[side], *command, stdin=stdin)

    def start(self, side, *command, environment=None):
        """In a mount namespace of its own, so that /run and /var/run are nobody else's."""
        log = open(f"{self.folder}/{side}.log", "a", encoding="utf-8")
        words = ["ip", "netns", "exec", self.names[side], "unshare", "-m", "sh", "-c",
                 'mount -t tmpfs tmpfs /run && exec "$@"', "sh", *command]
        self.processes.append(subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **(environment or {})}))
        log.close()
        return self.processes[-1]

    def build(self):
        for side, name in self.names.items():
            sh("ip", "netns", "add", name)
            self.on(side, "ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "eth0", "netns", self.names["near"], "type", "veth", "peer", "name", "eth0", "netns",
           self.names["far"])
        for side, address in LAB.items():
            self.on(side, "ip", "address", "add", f"{address}/24", "dev", "eth0")
            self.on(side, "ip", "link", "set", "eth0", "mtu", str(self.path), "up")
            if not self.offload:
                self.on(side, "ethtool", "-K", "eth0", "tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off")
        keys = {side: sh("wg", "genkey").strip() for side in LAB}
        public = {side: sh("wg", "pubkey", stdin=key).strip() for side, key in keys.items()}
        (self.ours if self.what else self.by_hand)(keys, public)
        if self.tracked:
            for side in LAB:
                self.on(side, "nft", TRACKING)
        self.await_tunnel()
        server = subprocess.Popen(["ip", "netns", "exec", self.names["far"], "iperf3", "-s", "-B", PEER],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.processes.append(server)

    def by_hand(self, keys, public):
        mtu = self.path - OVERHEAD
        for side in LAB:
            other = "far" if side == "near" else "near"
            if self.options.backend == "kernel":
                self.on(side, "ip", "link", "add", "wg0", "type", "wireguard")
                tool = ["wg"]
            else:
                daemon = self.start(side, self.options.wireguard_go, "-f", "wg0")
                self.until(lambda: self.has_link(side, "wg0"), "wireguard-go made no device")
                # Its socket is in its own mount namespace.
                inside = sh("pgrep", "-f", "-P", str(daemon.pid), "wireguard-go").split() if not self.is_daemon(daemon.pid) else []
                tool = ["nsenter", "-m", "-t", str(inside[0] if inside else daemon.pid), "wg"]
            path = f"{self.folder}/{side}.key"
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
                out.write(keys[side] + "\n")
            allowed = PEER if side == "near" else OWN
            endpoint = ["endpoint", f"{LAB[other]}:{PORT}"] if side == "near" else []
            self.on(side, *tool, "set", "wg0", "listen-port", str(PORT), "private-key", path, "peer", public[other],
                    "allowed-ips", f"{allowed}/32", *endpoint)
            self.on(side, "ip", "address", "add", f"{OWN if side == 'near' else PEER}/24", "dev", "wg0")
            self.on(side, "ip", "link", "set", "wg0", "mtu", str(mtu), "up")

    @staticmethod
    def is_daemon(pid):
        with open(f"/proc/{pid}/comm", encoding="ascii") as text:
            return text.read().startswith("wireguard")

    def ours(self, keys, public):
        for side in LAB:
            other = "far" if side == "near" else "near"
            folder = f"{self.folder}/{side}"
            os.makedirs(folder)
            with open(os.open(f"{folder}/private.key", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
                out.write(keys[side] + "\n")
            dial = f'endpoint: "{LAB[other]}:{PORT}", ' if side == "near" else ""
            exits = "exits: [ { name: far, peer: far } ]\n" if side == "near" and self.is_exit else ""
            text = (f"node: {side}\nstate_dir: {folder}\nproxy: {{ listeners: [ {{ bind: \"127.0.0.1:3128\" }} ] }}\n"
                    f"tunnel:\n  listen: {PORT if side == 'far' else 'null'}\n"
                    f"  address: {OWN if side == 'near' else PEER}\n  backend: {self.options.backend}\n"
                    f"  mtu: {'auto' if self.what == 'ours' else self.what}\n"
                    f"  wireguard_go: {shutil.which(self.options.wireguard_go) or self.options.wireguard_go}\n"
                    f"  peers: [ {{ name: {other}, public_key: \"{public[other]}\", {dial}"
                    f"address: {PEER if side == 'near' else OWN} }} ]\n{exits}")
            with open(f"{folder}/oceanid.yaml", "w", encoding="ascii") as out:
                out.write(text)
            self.start(side, self.options.oceanid, "run", "-c", f"{folder}/oceanid.yaml")

    def has_link(self, side, name):
        return subprocess.run(["ip", "netns", "exec", self.names[side], "ip", "link", "show", "dev", name],
                              capture_output=True, check=False).returncode == 0

    def until(self, what, trouble, seconds=30):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                logs = "".join(open(f"{self.folder}/{side}.log", encoding="utf-8", errors="replace").read()[-1500:]
                               for side in LAB if os.path.exists(f"{self.folder}/{side}.log"))
                raise Trouble(f"{trouble}\n{logs}")
            time.sleep(0.1)

    def link_mtu(self, side="near"):
        return json.loads(self.on(side, "ip", "-j", "link", "show", "dev", self.device[side]))[0]["mtu"]

    def await_tunnel(self):
        ping = ["ip", "netns", "exec", self.names["near"], "ping", "-c", "1", "-W", "1", PEER]
        self.until(lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0, "no packet passes the tunnel")
        if self.what:
            largest = (self.path - OVERHEAD) // 16 * 16 if self.what == "ours" else self.what
            self.until(lambda: self.link_mtu() == largest and self.route_mtu() in (0, largest),
                       f"the MTU {largest} is not found")

    def route_mtu(self):
        """What far gives packets to near; 0: its device's."""
        found = json.loads(self.on("far", "ip", "-j", "route", "get", OWN))[0]
        return next((metric["mtu"] for metric in found.get("metrics", []) if "mtu" in metric), 0)

    def measure(self, words, seconds):
        said = self.on("near", "iperf3", "-c", PEER, "-J", "-O", "1", "-t", str(seconds), *words)
        return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 1e6

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in self.names.values():
            # wireguard-go outlives the gateway by design; the namespace's own are ended by pid.
            for pid in subprocess.run(["ip", "netns", "pids", name], text=True, capture_output=True, check=False).stdout.split():
                try:
                    os.kill(int(pid), 9)
                except ProcessLookupError:
                    pass
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Pairs(Worlds):
    """One of each kind over the same path."""

    def __init__(self, options, kinds, path, offload):
        super().__init__({kind: Pair(options, f"obt{os.getpid()}-{number}-", what, path, offload)
                          for number, (kind, what) in enumerate(kinds.items())})

    def measure(self, kind, words, seconds):
        return self.worlds[kind].measure(words, seconds)

    def mtu(self, kind):
        return self.worlds[kind].link_mtu()
