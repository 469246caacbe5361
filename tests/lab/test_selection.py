"""Which packets take which exit, on this kernel: recorded plans carried out, the services say whom they see. Traffic
that is selected out leaves with the node's own address; everything else with its exit's, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest

from plan_world import NODES, SERVER, SERVICE, World

PARTNER = "192.0.2.65"  # inside 192.0.2.64/28 of the plans
NODE = NODES["styx"][1]
TETHYS, MELIAE = NODES["tethys"][1], NODES["meliae"][1]
PORTS = (443, 873, 5432, 8443)

# Sources by what the services are asked for. `direct` is what a node may show of itself.
SOURCES = f"""table inet selection {{
  counter wrong {{ }}
  counter icmp_exit {{ }}
  counter icmp_direct {{ }}
  chain watch {{
    type filter hook prerouting priority raw; policy accept;
    ip daddr {{ {SERVICE}, {PARTNER} }} ip saddr != {{ {TETHYS}, {MELIAE}, {NODE} }} counter name wrong
    meta l4proto {{ tcp, udp }} ip daddr {{ {SERVICE}, {PARTNER} }} ip saddr {NODE} th dport 5432 counter name wrong
    icmp type destination-unreachable ip saddr {{ {TETHYS}, {MELIAE} }} counter name icmp_exit
    icmp type destination-unreachable ip saddr {NODE} counter name icmp_direct
  }}
}}
"""


@pytest.fixture(scope="module")
def shared():
    with World() as world:
        world.on("internet", "ip", "addr", "add", f"{PARTNER}/32", "dev", "lo")
        for address in (SERVICE, PARTNER):
            for port in PORTS:
                serve(world, address, port)
        world.on("internet", "nft", "-f", "-", stdin=SOURCES)
        yield world


def serve(world, address, port):
    program = SERVER.replace("('0.0.0.0', int(sys.argv[1]))", "(sys.argv[2], int(sys.argv[1]))")
    server = subprocess.Popen(["ip", "netns", "exec", world.netns("internet"), sys.executable, "-c", program, str(port), address],
                              stdout=subprocess.PIPE, text=True)
    world.processes.append(server)
    assert server.stdout.readline().strip() == "ready"


@pytest.fixture
def world(shared):
    before = shared.counter("internet", "wrong", "selection"), shared.counter("internet", "private", "leaks")
    yield shared
    shared.settle()
    after = shared.counter("internet", "wrong", "selection"), shared.counter("internet", "private", "leaks")
    assert after == before, "packets with a wrong source were on the wire"


def prepare(world, rp_filter=0, **examples):
    for node in NODES:
        world.apply(node, examples.get(node))
    world.rp_filter(rp_filter)


def refused(answer):
    return answer.startswith("error: ")


def both(world, pod, port, host=SERVICE, **more):
    return {world.seen(pod, kind, host=host, port=port, **more) for kind in ("tcp", "udp")}


def lose(world, node, device, table):
    world.on(node, "ip", "route", "del", "default", "dev", device, "table", str(table))


# -- databases only -----------------------------------------------------------------------------------

@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_databases_only(world, rp_filter):
    prepare(world, rp_filter, styx="databases-only")
    assert both(world, "pod-styx-1", 5432, wait=3) == {TETHYS}
    assert both(world, "pod-styx-1", 443, wait=3) == {NODE}
    world.on("pod-styx-1", "ping", "-c1", "-W2", SERVICE)
    world.on("pod-styx-1", "ping", "-c1", "-W2", "10.42.0.11")


def test_databases_without_an_exit_are_refused_and_the_rest_goes_on(world):
    prepare(world, styx="databases-only")
    lose(world, "styx", "oc-tethys", 13128)
    assert all(refused(answer) for answer in both(world, "pod-styx-1", 5432, wait=0.6))
    assert both(world, "pod-styx-1", 443) == {NODE}


def test_databases_are_held_back_without_rules(world):
    prepare(world, styx="databases-only")
    world.remove_rules("styx")
    before = world.counter("styx", "leak_blocked")
    assert all(refused(answer) for answer in both(world, "pod-styx-1", 5432, wait=0.6))
    assert world.counter("styx", "leak_blocked") > before
    assert both(world, "pod-styx-1", 443) == {NODE}


def test_databases_take_no_other_way_without_nftables(world):
    prepare(world, styx="databases-only")
    world.on("styx", "nft", "delete", "table", "inet", "oceanid")
    assert all(refused(answer) or answer == TETHYS for answer in both(world, "pod-styx-1", 5432, wait=0.6))
    assert both(world, "pod-styx-1", 443) == {NODE}


LATE = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[2]))); print('ready', flush=True)
data, peer = s.recvfrom(4000); time.sleep(0.5); s.sendto(data, peer)
"""
GONE = "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', (sys.argv[1], int(sys.argv[2])))"


@pytest.mark.parametrize("port, counter", [(5433, "icmp_direct"), (5432, "icmp_exit")])
def test_a_pods_icmp_error_takes_the_way_of_its_connection(world, port, counter):
    """An ICMP error has no port: the mark of its connection says where it belongs."""
    prepare(world, 1, styx="databases-only")
    late = "192.0.2.66"
    world.on("internet", "ip", "addr", "replace", f"{late}/32", "dev", "lo")
    server = subprocess.Popen(["ip", "netns", "exec", world.netns("internet"), sys.executable, "-c", LATE, late, str(port)],
                              stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline().strip() == "ready"
        before = world.counter("internet", counter, "selection")
        world.on("pod-styx-1", sys.executable, "-c", GONE, late, str(port))
        assert server.wait(timeout=10) == 0
        world.settle()
        assert world.counter("internet", counter, "selection") == before + 1
    finally:
        server.kill()
        server.wait()


BIG = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3); s.setsockopt(socket.IPPROTO_IP, 10, 0)
s.sendto(b'x' * 1900, (sys.argv[1], int(sys.argv[2]))); print(s.recv(100).decode())
"""


@pytest.mark.parametrize("port, seen", [(5432, TETHYS), (443, NODE)])
def test_fragments_without_ports_follow_their_datagram(world, port, seen):
    prepare(world, 1, styx="databases-only")
    assert world.on("pod-styx-1", sys.executable, "-c", BIG, SERVICE, str(port)).strip() == seen


# -- everything but backups, one pod by another exit --------------------------------------------------

@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_everything_but_backups_and_a_pinned_source(world, rp_filter):
    prepare(world, rp_filter, styx="selecting-worker")
    ask = lambda pod, port, kind="tcp", host=SERVICE: world.seen(pod, kind, host=host, port=port, wait=3)  # noqa: E731
    assert ask("pod-styx-1", 873, host=PARTNER) == NODE
    assert ask("pod-styx-2", 873, host=PARTNER) == NODE, "the line before the pin"
    assert ask("pod-styx-1", 873, "udp", PARTNER) == TETHYS
    assert ask("pod-styx-1", 873) == TETHYS
    assert both(world, "pod-styx-1", 8443, wait=3) == {NODE}
    assert both(world, "pod-styx-2", 8443, wait=3) == {MELIAE}, "the pin comes before"
    assert both(world, "pod-styx-1", 5432, wait=3) == {TETHYS}
    assert both(world, "pod-styx-2", 5432, wait=3) == {MELIAE}
    world.on("pod-styx-2", "ping", "-c1", "-W2", SERVICE)


def test_a_pinned_source_stays_when_the_others_switch(world):
    prepare(world, styx="selecting-worker")
    world.switch("styx", "oc-meliae")
    assert both(world, "pod-styx-1", 5432) == {MELIAE}
    assert both(world, "pod-styx-2", 5432) == {MELIAE}


def test_a_pinned_exit_that_is_down_refuses_its_pods_only(world):
    prepare(world, styx="selecting-worker")
    lose(world, "styx", "oc-meliae", 13130)
    assert all(refused(answer) for answer in both(world, "pod-styx-2", 5432, wait=0.6))
    assert both(world, "pod-styx-1", 5432) == {TETHYS}
    assert world.seen("pod-styx-2", host=PARTNER, port=873) == NODE


def test_a_pin_whose_rule_is_gone_is_no_way_by_another_exit(world):
    prepare(world, styx="selecting-worker")
    for priority in (5162, 5163):
        world.on("styx", "ip", "rule", "del", "pref", str(priority), check=False)
    before = world.counter("styx", "leak_blocked")
    assert all(refused(answer) for answer in both(world, "pod-styx-2", 5432, wait=0.6))
    assert world.counter("styx", "leak_blocked") > before


def test_a_connection_follows_a_changed_selection(world):
    """An open connection that goes direct is held back when the new list sends it through the exit."""
    prepare(world, styx="selecting-worker")
    flow = subprocess.Popen(["ip", "netns", "exec", world.netns("pod-styx-1"), sys.executable, "-c",
                             f"import socket\ns = socket.create_connection(('{PARTNER}', 873), 2); s.settimeout(1.5); print(s.recv(100).decode(), flush=True)\n"
                             "input()\ntry: s.sendall(b'x'); print('echo' if s.recv(1) else 'closed')\nexcept OSError as e: print('held back')"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert flow.stdout.readline().strip() == NODE
        world.apply("styx", "styx")
        assert flow.communicate("\n", timeout=20)[0].strip() != "echo"
    finally:
        flow.kill()
        flow.wait()


# -- an exit's own pods -------------------------------------------------------------------------------

@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_an_exits_own_pods_select_too(world, rp_filter):
    prepare(world, rp_filter, tethys="selecting-exit")
    assert both(world, "pod-tethys-1", 443, host=PARTNER, wait=3) == {MELIAE}
    assert both(world, "pod-tethys-1", 5432, wait=3) == {TETHYS}
    assert both(world, "pod-tethys-1", 443, wait=3) == {TETHYS}, "direct, and this node is the exit"
    assert both(world, "pod-styx-1", 443, wait=3) == {TETHYS}, "clients are served as before"


def test_an_exits_own_pods_are_held_back_without_nftables_where_they_select(world):
    prepare(world, tethys="selecting-exit")
    world.on("tethys", "nft", "delete", "table", "inet", "oceanid")
    assert all(refused(answer) for answer in both(world, "pod-tethys-1", 5432, wait=0.6))
    assert all(refused(answer) for answer in both(world, "pod-tethys-1", 443, host=PARTNER, wait=0.6))
    assert both(world, "pod-tethys-1", 443) == {TETHYS}
