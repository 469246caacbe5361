"""A node that has its IPv6 default route from router advertisements keeps it, though the gateway makes it a router.

A kernel that begins to forward forgets such routes and hears of no new ones: the operator's own connection would be gone.
A node and its router, each a network namespace of its own."""
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
routing: {{ sources: [10.42.1.0/24, "2001:db8:42:1::/64"], interfaces: [cni0], ipv6: {ipv6} }}
"""
# RFC 4861 section 4.2: hop limit 64, lifetime 1800 s. The kernel adds the checksum.
ADVERTISE = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    s.sendto(bytes([134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 255]) + bytes(8), ("ff02::1", 0, 0, socket.if_nametoindex("up0")))
"""


class World:
    def __init__(self, program, folder):
        self.program, self.folder, self.config, self.gateway = program, folder, folder / "oceanid.yaml", None
        self.holders = Holders("node", "router")
        self.sh("node", f"ip link add eth0 type veth peer name up0 netns {self.holders.pid('router')}; ip link set eth0 up; "
                        "ip address add 198.51.100.30/24 dev eth0; ip link add cni0 type bridge; ip link set cni0 up; "
                        "ip link add far0 type veth peer name far1; ip link set far1 up; ip link set far0 up; ip address add 192.0.2.1/32 dev far0; "
                        "ip address add 2001:db8:f::1/128 dev far0")
        self.sh("router", "ip link set up0 up; ip address add 198.51.100.1/24 dev up0")
        self.sh("node", "ip route add default via 198.51.100.1")

    def sh(self, who, script, check=True):
        return self.holders.sh(who, script, check).stdout

    def wait_for(self, what, seconds=20):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.sh("node", "ip -6 route; sysctl net.ipv6.conf.eth0") + self.log()
            time.sleep(0.1)

    def log(self):
        return (self.folder / "log").read_text() if self.gateway else ""

    def advertise(self, check=True):
        self.sh("router", f"/usr/bin/python3 -c '{ADVERTISE}'", check)

    def default(self):
        return [route for route in json.loads(self.sh("node", "ip -6 -j route show default")) if route["dev"] == "eth0"]

    def hears(self):
        """Advertised by the router until the route is there."""
        def there():
            self.advertise(check=False)  # impossible until its address is proved to be nobody else's
            return self.default()
        self.wait_for(there)

    def sysctl(self, name):
        return self.sh("node", f"sysctl -n net.ipv6.conf.{name}").strip()

    def start(self, ipv6="exit"):
        self.config.write_text(CONFIG.format(folder=self.folder, ipv6=ipv6))
        self.gateway = subprocess.Popen([*self.holders.enter("node"), self.program, "run", "-c", str(self.config)],
                                        stderr=open(self.folder / "log", "a"))
        status = f"{self.program} status --json -c {self.config} 2>&1 || true"
        self.wait_for(lambda: (said := self.sh("node", status)).startswith("{") and json.loads(said)["routing"]["in_force"])

    def reload(self, ipv6):
        self.config.write_text(CONFIG.format(folder=self.folder, ipv6=ipv6))
        self.sh("node", f"{self.program} reload -c {self.config}")

    def stop(self):
        if self.gateway and self.gateway.poll() is None:
            self.gateway.send_signal(signal.SIGTERM)
            self.gateway.wait(60)


@pytest.fixture
def world(program, tmp_path):
    tmp_path.chmod(0o755)
    world = World(program, tmp_path)
    try:
        world.hears()
        yield world
    finally:
        world.holders.close(world.gateway)


def test_a_kernel_that_begins_to_forward_forgets_its_default_route(world):
    """What the others are about; should it change one day, they prove nothing any more."""
    assert world.sysctl("eth0.accept_ra") == "1"
    world.sh("node", "sysctl -qw net.ipv6.conf.all.forwarding=1")
    assert not world.default()
    world.advertise()
    time.sleep(0.5)
    assert not world.default()


def test_the_default_route_stays_and_comes_back(world):
    world.start()
    assert world.sysctl("all.forwarding") == "1" and world.default()
    world.sh("node", "ip -6 route del default dev eth0")
    world.hears()
    assert world.sysctl("eth0.accept_ra") == "2"
    assert world.sysctl("cni0.accept_ra") == "1", "pods are nobody's routers"
    world.stop()
    # The bridge needs forwarding, whoever switched it on: then routers must be heard as well.
    said = world.sh("node", f"{world.program} down -c {world.config}")
    assert "net.ipv6.conf.all.forwarding=1: cni0 needs forwarding" in said, said
    assert "net.ipv6.conf.eth0.accept_ra=2: without it a kernel that forwards hears no router" in said, said
    assert world.default()


def test_all_is_given_back(world):
    world.start()
    world.sh("node", "ip link delete cni0")
    world.stop()
    world.sh("node", f"{world.program} down -c {world.config}")
    assert (world.sysctl("all.forwarding"), world.sysctl("eth0.accept_ra")) == ("0", "1")
    assert world.default()


def test_a_network_manager_that_hears_routers_itself_is_left_alone(world):
    world.sh("node", "sysctl -qw net.ipv6.conf.eth0.accept_ra=0")
    world.start()
    assert (world.sysctl("all.forwarding"), world.sysctl("eth0.accept_ra")) == ("1", "0")


def test_without_ipv6_nothing_is_touched(world):
    world.start("block")
    assert (world.sysctl("all.forwarding"), world.sysctl("eth0.accept_ra")) == ("0", "1")
    world.reload("exit")
    world.wait_for(lambda: (world.sysctl("all.forwarding"), world.sysctl("eth0.accept_ra")) == ("1", "2"))
    assert world.default()
