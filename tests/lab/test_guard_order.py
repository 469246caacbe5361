"""`oceanid guard` at boot, in every order of events: nothing leaves, whatever exists when it runs.

A node, its pod and the internet, each a network namespace, made by hand so that links can come and go."""
import json
import signal
import subprocess
import time

import pytest

from holders import Holders

CONFIG = """node: styx
state_dir: {folder}
run_dir: {folder}
proxy: {{ listeners: [{{ bind: "127.0.0.1:3128" }}] }}
exits: [{{ name: far, interface: far0 }}]
routing: {{ sources: [{sources}], interfaces: [cni0], kill_switch: {kill_switch} }}
"""
COUNT = """table inet count {
  counter foreign { }
  chain in { type filter hook prerouting priority raw; iifname up0 ip saddr 10.42.0.0/16 counter name foreign; iifname up0 ip saddr 198.51.100.30 ip daddr 192.0.2.10 counter name foreign; }
}"""


class World:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.config = folder / "oceanid.yaml"
        self.holders = Holders("node", "pod", "internet")
        self.sh("internet", f"nft -f - <<'E'\n{COUNT}\nE")
        self.gateway = None

    def sh(self, who, script, check=True, timeout=30):
        return self.holders.sh(who, script, check, timeout)

    def configure(self, sources="10.42.1.0/24", kill_switch="true"):
        self.config.write_text(CONFIG.format(folder=self.folder, sources=sources, kill_switch=kill_switch))

    def guard(self):
        return self.sh("node", f"{self.program} guard -c {self.config}").stdout

    def link_up(self):
        """The uplink: the node on the internet."""
        net = self.holders.pid("internet")
        self.sh("node", f"ip link add eth0 type veth peer name up0 netns {net}; ip addr add 198.51.100.30/24 dev eth0; "
                        "ip link set eth0 up; sysctl -qw net.ipv4.ip_forward=1")
        self.sh("internet", "ip addr add 198.51.100.1/24 dev up0; ip link set up0 up; ip addr replace 192.0.2.10/32 dev lo")
        self.sh("node", "ip route add default via 198.51.100.1")

    def cni_up(self):
        """The pods' bridge, the pod, and Flannel's masquerade."""
        pod = self.holders.pid("pod")
        self.sh("node", f"ip link add cni0 type bridge; ip addr add 10.42.1.1/24 dev cni0; ip link set cni0 up; "
                        f"ip link add veth1 type veth peer name eth0 netns {pod}; ip link set veth1 master cni0 up; "
                        "nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; "
                        "add rule ip nat post ip saddr 10.42.0.0/16 ip daddr != 10.42.0.0/16 masquerade'")
        self.sh("pod", "ip addr add 10.42.1.5/24 dev eth0; ip link set eth0 up; ip route add default via 10.42.1.1")

    def try_everything(self):
        """What a pod can send; the number of packets that arrived from a wrong source."""
        before = self.leaks()
        self.sh("pod", "for i in 1 2 3; do ping -c1 -W1 192.0.2.10; done; echo x > /dev/udp/192.0.2.10/4433; "
                       "timeout 1 bash -c 'echo > /dev/tcp/192.0.2.10/443'", check=False)
        return self.leaks() - before

    def leaks(self):
        listed = json.loads(self.sh("internet", "nft -j list counter inet count foreign").stdout)
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    def start(self):
        pid = self.holders.pid("node")
        self.gateway = subprocess.Popen(["nsenter", "-n", "-m", "-t", str(pid), self.program, "run", "-c", str(self.config)],
                                        stderr=open(self.folder / "log", "a"))
        end = time.monotonic() + 20
        while self.sh("node", f"{self.program} status --json -c {self.config}", check=False).returncode != 0 or \
                not self.status()["routing"]["in_force"]:
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.1)

    def status(self):
        return json.loads(self.sh("node", f"{self.program} status --json -c {self.config}").stdout)

    def stop(self, number=signal.SIGTERM):
        self.gateway.send_signal(number)
        self.gateway.wait(60)

    def reboot(self):
        """The kernel forgets, the disk does not."""
        self.sh("node", "ip link del eth0; ip link del veth1; ip link del cni0; nft flush ruleset; ip rule flush; ip -6 rule flush; "
                        "ip rule add pref 32766 lookup main; ip rule add pref 0 lookup local; "
                        "for t in 13128 13129 13130 13131; do ip route flush table $t; ip -6 route flush table $t; done", check=False)


@pytest.fixture
def world(program, tmp_path):
    tmp_path.chmod(0o755)
    world = World(program, tmp_path)
    world.configure()
    try:
        yield world
    finally:
        world.holders.close(world.gateway)


def test_the_world_leaks_without_a_guard(world):
    world.link_up()
    world.cni_up()
    assert world.try_everything() > 0


@pytest.mark.parametrize("order", ("guard link_up cni_up", "link_up guard cni_up", "cni_up guard link_up", "cni_up link_up guard",
                                   "link_up cni_up guard", "guard cni_up link_up", "guard guard link_up guard cni_up guard"))
def test_nothing_leaves_whatever_comes_first(world, order):
    for step in order.split():
        getattr(world, step)()
    assert world.try_everything() == 0


def test_twice_is_as_good_as_once(world):
    world.link_up()
    world.cni_up()
    world.guard()
    assert "(0 changes)" in world.guard() or "(1 changes)" in world.guard()  # the text of nft is not asked back
    assert world.try_everything() == 0


def test_the_gateway_takes_over_what_the_guard_made_and_leaves_it_behind(world):
    world.guard()
    world.link_up()
    world.cni_up()
    world.start()
    assert world.try_everything() == 0
    assert world.status()["routing"]["leaks_blocked"] == 0, "routing refuses first, and counts nothing"
    world.stop(signal.SIGKILL)
    assert world.try_everything() == 0
    world.guard()
    assert world.try_everything() == 0


@pytest.mark.parametrize("now", ({"sources": "10.42.9.0/24"}, {"kill_switch": "false"}, None),
                         ids=("other sources", "open", "broken"))
def test_what_was_good_last_holds_until_the_gateway_has_taken_the_change(world, now):
    """The file was changed since; the guard holds what the gateway left, and the gateway decides afterwards."""
    world.link_up()
    world.cni_up()
    world.start()
    world.stop()
    world.reboot()
    if now is None:
        world.config.write_text(f"state_dir: {world.folder}\nrouting: {{ sorces: [] }}\n")
        # A broken file does not tell its state folder: the usual one is asked, in the node's own mount namespace.
        world.sh("node", f"mount -t tmpfs lib /var/lib && mkdir /var/lib/oceanid && mount --bind {world.folder} /var/lib/oceanid")
    else:
        world.configure(**now)
    world.guard()
    world.link_up()
    world.cni_up()
    assert world.try_everything() == 0


def test_stale_state_of_another_table_is_cleared(world):
    """A former life left rules and routes of ours that the configuration no longer wants."""
    world.sh("node", "ip rule add pref 5155 from 10.42.1.0/24 lookup 14000 protocol 131; "
                     "nft 'add table inet oceanid; add chain inet oceanid old { type filter hook forward priority 0; policy accept; }'")
    world.link_up()
    world.cni_up()
    world.sh("node", "ip route add default via 198.51.100.1 table 14000 protocol 131")
    assert world.try_everything() > 0, "the stale state lets pods out"
    world.guard()
    assert world.try_everything() == 0
    assert "14000" not in world.sh("node", "ip rule; ip route show table all").stdout


def test_blocked_leaks_are_counted(world):
    """What nft stops shows as a metric; a change of the ruleset does not take it back."""
    world.link_up()
    world.cni_up()
    world.start()
    world.sh("node", "ip rule add pref 5000 iif cni0 lookup main")  # somebody takes pods past our rules: only nft is left

    def metric():
        page = world.sh("node", "exec 3<>/dev/tcp/127.0.0.1/2000; printf 'GET /metrics HTTP/1.0\\r\\nHost: a\\r\\n\\r\\n' >&3; cat <&3").stdout
        return next(int(float(line.split()[1])) for line in page.splitlines()
                    if line.startswith("oceanid_routing_leaks_blocked_total "))
    end = time.monotonic() + 30
    assert world.try_everything() == 0
    while metric() == 0:
        assert time.monotonic() < end
        time.sleep(0.2)
    counted = metric()
    world.configure(sources="10.42.1.0/24, 10.42.7.0/24")
    assert world.sh("node", f"{world.program} reload -c {world.config}").returncode == 0
    time.sleep(2.5)
    assert metric() >= counted
    assert world.leaks() == 0
