"""An exit's addresses and their ports, on this kernel, with a recorded plan: the next address where the set says so,
and what happens when 64,512 connections go to one place. Independent of the gateway and of deploy/lab."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from plan_world import PORT, SERVICE, World

FIRST, SECOND = "203.0.113.10", "203.0.113.11"
SINK = 9  # discard: the internet counts what comes and answers nothing
PORTS = 64512

COUNTERS = f"""table inet ports {{
  counter first {{ }}
  counter second {{ }}
  counter wrong {{ }}
  chain watch {{
    type filter hook prerouting priority raw; policy accept;
    ip daddr {SERVICE} udp dport {SINK} ip saddr {FIRST} counter name first drop
    ip daddr {SERVICE} udp dport {SINK} ip saddr {SECOND} counter name second drop
    ip daddr {SERVICE} udp dport {SINK} counter name wrong drop
  }}
}}
"""

# One datagram from each source port, in bursts that the tunnel's queue holds.
FLOWS = """
import socket, sys, time
host, port, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for number in range(first, last):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(('0.0.0.0', number)); s.sendto(b'x', (host, port))
    if number % 100 == 0: time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def world():
    with World() as world:
        world.on("internet", "nft", "-f", "-", stdin=COUNTERS)
        world.apply("styx")
        world.apply("tethys", "spilling-exit")
        world.on("tethys", "ip", "addr", "add", f"{SECOND}/28", "dev", "eth0")
        for node in ("styx", "tethys"):
            world.on(node, "sysctl", "-qw", "net.netfilter.nf_conntrack_udp_timeout=600")
        yield world
        assert world.counter("internet", "wrong", "ports") == 0
        assert world.counter("internet", "private", "leaks") == 0


def element(world, action, port, protocol="udp"):
    world.on("tethys", "nft", action, "element", "inet", "oceanid", "spill1_4", f"{{ {SERVICE} . {protocol} . {port} timeout 10m }}")


def send(world, pod, first, last):
    """Sends, and waits until the internet has counted no more for a while."""
    world.on(pod, "timeout", "25", sys.executable, "-c", FLOWS, SERVICE, str(SINK), str(first), str(last))
    world.settle()


def refusals(world):
    """insert_failed over all processors."""
    text = world.on("tethys", "conntrack", "-S")
    return sum(int(number) for number in re.findall(r"insert_failed=(\d+)", text))


def seen(world):
    return world.counter("internet", "first", "ports"), world.counter("internet", "second", "ports")


def test_a_destination_that_spills_is_seen_with_the_second_address(world):
    assert world.seen("pod-styx-1", "udp", wait=3) == FIRST
    element(world, "add", PORT)
    try:
        assert world.seen("pod-styx-1", "udp", wait=3) == SECOND
        assert world.seen("pod-styx-1", "tcp", wait=3) == FIRST, "the protocol is part of the destination"
    finally:
        world.on("tethys", "nft", "flush", "set", "inet", "oceanid", "spill1_4")
    assert world.seen("pod-styx-2", "udp", wait=3) == FIRST


def test_a_server_that_talks_after_its_connection_was_forgotten_is_answered_and_nothing_leaks(world):
    """The exit's conntrack is flushed under an open connection; the client's next packet is reset or goes on."""
    code = (f"import socket\ns = socket.create_connection(('{SERVICE}', {PORT}), 3); s.settimeout(5); s.recv(100); print('ready', flush=True); input()\n"
            "try:\n s.sendall(b'x'); print('echo' if s.recv(1) else 'closed')\nexcept OSError as error: print(error)")
    client = subprocess.Popen(["ip", "netns", "exec", world.netns("pod-styx-1"), sys.executable, "-c", code],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert client.stdout.readline().strip() == "ready"
        world.on("tethys", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
        world.on("tethys", "conntrack", "-F")
        assert "reset" in client.communicate("\n", timeout=30)[0].lower()
        assert world.counter("tethys", "invalid_reset") > 0
    finally:
        client.kill()
        client.wait()
        world.on("tethys", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=1")


def test_all_ports_towards_one_place(world):
    """Two pods ask for more connections than one address has ports: what fails is dropped and counted, the second
    address takes what comes then, and no packet ever shows another source."""
    limit = int(world.on("tethys", "sysctl", "-n", "net.netfilter.nf_conntrack_max"))
    if limit < 4 * PORTS:
        pytest.skip(f"nf_conntrack_max is {limit}, which only the machine's first namespace can raise: "
                    f"sysctl -w net.netfilter.nf_conntrack_max={4 * PORTS}")
    before = refusals(world)
    for node, device in (("styx", "oc-tethys"), ("tethys", "oc-hub")):  # both stand-ins for a tunnel are one slow thread
        world.on(node, "ip", "link", "set", device, "txqueuelen", "10000")
    for start in range(1024, 65536, 8064):
        send(world, "pod-styx-1", start, start + 8064)
    taken = seen(world)[0]
    # Fully random ports are tried a bounded number of times: the last ten percent are hard to find.
    assert 0.85 * PORTS < taken <= PORTS
    failed = refusals(world) - before
    assert failed > 0
    # The tunnel of this world may lose a datagram; conntrack and the counters may not disagree in the other direction.
    assert taken + failed <= PORTS + 64
    element(world, "add", SINK)
    send(world, "pod-styx-2", 20000, 22000)
    first, second = seen(world)
    assert first == taken, "nothing new by the full address"
    assert second >= 1900
