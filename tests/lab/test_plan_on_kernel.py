"""Recorded plans carried out on this kernel: the right way at every rp_filter, and no leak when nftables, the
rules or a device go away. Independent of the gateway and of deploy/lab."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys

import pytest

from plan_world import CALLER, METADATA, NODES, PORT, PUBLIC, SERVICE, World

PODS = {"pod-styx-1": "203.0.113.10", "pod-tethys-1": "203.0.113.10", "pod-meliae-1": "203.0.113.20"}
EXITS = set(PODS.values())
HOSTPORT = "table ip hostport {{\n chain pre {{\n type nat hook prerouting priority dstnat;\n ip daddr {uplink} tcp dport 8080 dnat to {to}\n }}\n}}\n"


@pytest.fixture(scope="module")
def shared():
    with World() as world:
        yield world


@pytest.fixture
def world(shared):
    shared.wires.check_sources = True
    for node in NODES:
        shared.apply(node)
    shared.rp_filter(0)
    before = shared.leaks(), shared.counter("internet", "private", "leaks")
    yield shared
    shared.settle()
    assert (shared.leaks(), shared.counter("internet", "private", "leaks")) == before, "packets with a foreign source were on the wire"


def try_all(world, pods=tuple(PODS), wait=0.6):
    """Both protocols from every pod; answers in any case, after which the leak counters are read."""
    asked = [(pod, kind) for pod in pods for kind in ("tcp", "udp")]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        return dict(zip(asked, pool.map(lambda ask: world.seen(*ask, wait=wait), asked)))


def refused(answer: str) -> bool:
    return answer.startswith("error: ")


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_pods_are_seen_with_their_exit(world, rp_filter):
    world.rp_filter(rp_filter)
    assert try_all(world, wait=3) == {(pod, kind): seen for pod, seen in PODS.items() for kind in ("tcp", "udp")}


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_every_node_through_its_standby(world, rp_filter):
    world.rp_filter(rp_filter)
    world.switch("styx", "oc-meliae")
    world.switch("tethys", "oc-meliae")
    assert world.seen("pod-styx-1") == "203.0.113.20"
    assert world.seen("pod-tethys-1") == "203.0.113.20"
    assert world.seen("pod-tethys-1", "udp") == "203.0.113.20"


def test_the_exit_sees_pod_addresses(world):
    """Flannel's masquerade does not hide the pod: the exit's conntrack has its address."""
    assert world.seen("pod-styx-2") == "203.0.113.10"
    assert "src=10.42.1.12 dst=192.0.2.10" in world.on("tethys", "conntrack", "-L", "-p", "tcp")


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_bound_sockets_leave_by_their_exit(world, rp_filter):
    world.rp_filter(rp_filter)
    assert world.seen("styx", device="oc-tethys") == "203.0.113.10"
    assert world.seen("styx", device="oc-meliae") == "203.0.113.20"
    assert world.seen("tethys", device="oc-meliae") == "203.0.113.20"
    assert world.seen("tethys", device="eth0") == "203.0.113.10"


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_the_tunnel_ends_reach_each_other(world, rp_filter):
    world.rp_filter(rp_filter)
    for node, far, device in (("styx", "tethys", "oc-tethys"), ("tethys", "meliae", "oc-meliae"), ("tethys", "styx", "oc-hub")):
        for words in (["-I", device], []):
            world.on(node, "ping", "-c1", "-W1", *words, NODES[far][3])


def test_two_exits_that_stand_by_for_each_other_do_not_loop(world):
    world.switch("tethys", "oc-meliae")
    world.switch("meliae", "oc-tethys")
    before = world.wires.packets
    answers = [world.seen(pod, "udp") for pod in ("pod-tethys-1", "pod-meliae-1")]
    world.settle()
    assert answers == ["203.0.113.20", "203.0.113.10"]
    assert world.wires.packets - before <= 12


def test_same_node_and_other_node_pods_talk_past_the_tunnels(world, request):
    assert world.on("styx", "sysctl", "-n", "net.bridge.bridge-nf-call-iptables").strip() == "1"
    before = world.wires.packets
    for rp_filter in (0, 1):
        world.rp_filter(rp_filter)
        world.on("pod-styx-1", "ping", "-c1", "-W1", "10.42.1.12")
        world.on("pod-styx-1", "ping", "-c1", "-W1", "10.42.0.11")
        world.on("pod-tethys-1", "ping", "-c1", "-W1", "10.42.1.11")
        world.on("styx", "ping", "-c1", "-W1", "10.42.0.11")
    assert world.wires.packets == before


def test_pods_reach_the_mesh(world):
    world.on("pod-styx-1", "ping", "-c1", "-W1", "100.64.0.1")


@pytest.mark.parametrize("rp_filter", [0, 1, 2])
def test_inbound_connections_to_pods_are_answered_by_the_uplink(world, rp_filter):
    world.rp_filter(rp_filter)
    for node in ("styx", "tethys"):
        pods, uplink = NODES[node][:2]
        world.on(node, "nft", "-f", "-", stdin=HOSTPORT.format(uplink=uplink, to=f"10.42.{pods}.11:{PORT}"))
        world.serve(f"pod-{node}-1", f"10.42.{pods}.11")
        try:
            assert world.seen("internet", host=uplink, port=8080, source=CALLER) == CALLER
        finally:
            world.on(node, "nft", "delete", "table", "ip", "hostport")
            server = world.processes.pop()
            server.kill()
            server.wait()


def test_metadata_is_refused_through_an_exit(world):
    before = world.counter("tethys", "special_refused")
    for pod in ("pod-styx-1", "pod-tethys-1"):
        assert refused(world.seen(pod, host=METADATA))
    assert world.counter("tethys", "special_refused") >= before + 2


def test_the_home_network_and_the_exits_own_addresses_are_refused(world):
    for address in ("203.0.113.1", "198.51.100.17"):
        assert refused(world.seen("pod-styx-1", host=address, wait=0.5))


@pytest.mark.parametrize("rp_filter", [0, 1])
def test_a_foreign_source_through_a_tunnel_is_refused(world, rp_filter):
    """Even with the tunnel's own source filter off."""
    world.rp_filter(rp_filter)
    world.wires.check_sources = False
    world.on("pod-styx-1", "ip", "addr", "add", "198.18.0.9/32", "dev", "eth0")
    world.on("styx", "ip", "addr", "add", "10.66.0.9/32", "dev", "oc-tethys")
    before = world.counter("tethys", "lastline_blocked")
    try:
        assert refused(world.seen("pod-styx-1", source="198.18.0.9", wait=0.5))
        assert refused(world.seen("styx", device="oc-tethys", source="10.66.0.9", wait=0.5))
    finally:
        world.on("pod-styx-1", "ip", "addr", "del", "198.18.0.9/32", "dev", "eth0")
        world.on("styx", "ip", "addr", "del", "10.66.0.9/32", "dev", "oc-tethys")
    assert world.counter("tethys", "lastline_blocked") == before


def test_a_tunnel_does_not_open_connections_to_pods_or_listeners(world):
    """From the internet's addresses, as a peer that we gave 0.0.0.0/0 could forge them."""
    before = world.counter("styx", "ingress_refused")
    world.on("tethys", "ip", "addr", "add", "198.18.0.7/32", "dev", "oc-hub")
    world.on("tethys", "ip", "route", "add", "10.42.1.11/32", "dev", "oc-hub")
    world.on("tethys", "nft", "delete", "table", "ip", "flannel")  # would masquerade the forged source
    try:
        for target in ("10.42.1.11", NODES["styx"][3]):
            assert refused(world.seen("tethys", "udp", host=target, device="oc-hub", source="198.18.0.7", wait=0.4))
    finally:
        world.masquerade("tethys")
        world.on("tethys", "ip", "route", "del", "10.42.1.11/32", "dev", "oc-hub")
        world.on("tethys", "ip", "addr", "del", "198.18.0.7/32", "dev", "oc-hub")
    assert world.counter("styx", "ingress_refused") >= before + 2


# -- what must not leak ----------------------------------------------------------------------------

@pytest.mark.parametrize("rp_filter", [0, 1])
@pytest.mark.parametrize("whole", [True, False], ids=["everything", "our-table"])
@pytest.mark.parametrize("node", list(NODES))
def test_no_leak_when_nftables_is_flushed(world, node, whole, rp_filter):
    world.rp_filter(rp_filter)
    world.on(node, "nft", *(["flush", "ruleset"] if whole else ["delete", "table", "inet", "oceanid"]))
    try:
        answers = try_all(world)
        bound = world.seen("styx", device="oc-tethys", wait=0.4), world.seen("tethys", device="oc-meliae", wait=0.4)
        assert all(refused(answer) or answer in EXITS for answer in (*answers.values(), *bound))
    finally:
        if whole:
            world.masquerade(node)


@pytest.mark.parametrize("node", list(NODES))
def test_no_leak_of_established_flows_when_nftables_is_flushed(world, node):
    """Connections that were open before the flush, on the flushed node and through it."""
    flows = [Flow(world, pod, host) for pod in PODS for host in (SERVICE, PUBLIC)]
    try:
        assert all(flow.echo() for flow in flows)
        world.on(node, "nft", "flush", "ruleset")
        for flow in flows:
            flow.echo(wait=0.5)
    finally:
        for flow in flows:
            flow.close()
        world.masquerade(node)


class Flow:
    """An open TCP connection of a pod to the service's echo."""

    PROGRAM = (f"import socket, sys\ns = socket.create_connection((sys.argv[1], {PORT}), 2, ('', int(sys.argv[2]))); s.recv(100); print('ready', flush=True)\n"
               "for line in sys.stdin:\n s.settimeout(float(line))\n"
               " try: s.sendall(b'x'); print('echo' if s.recv(1) else 'closed', flush=True)\n"
               " except OSError as error: print(error, flush=True)\n")

    def __init__(self, world, pod, host=SERVICE, port=0):
        self.process = subprocess.Popen(["ip", "netns", "exec", world.netns(pod), sys.executable, "-c", self.PROGRAM, host, str(port)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def answer(self, wait=2.0):
        self.process.stdin.write(f"{wait}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def echo(self, wait=2.0):
        return self.answer(wait) == "echo"

    def close(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


# -- what is asked of a connection that is open already ----------------------------------------------

@pytest.fixture
def opened(world):
    """flows[pod, destination], all of them alive."""
    flows = {}
    try:
        for pod in PODS:
            for host in (SERVICE, PUBLIC):
                flows[pod, host] = Flow(world, pod, host)
        assert all(flow.echo() for flow in flows.values())
        yield flows
    finally:
        for flow in flows.values():
            flow.close()


def still(flows, pods=tuple(PODS), hosts=(SERVICE, PUBLIC)):
    """Which of them still are."""
    asked = [(pod, host) for pod in pods for host in hosts]
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        alive = list(pool.map(lambda key: flows[key].echo(wait=3), asked))
    return {key for key, echo in zip(asked, alive) if echo}


def test_only_where_an_exit_refuses_something_is_a_destination_asked_again(world, opened):
    world.on("tethys", "nft", "insert", "rule", "inet", "oceanid", "exit_destinations", "drop")
    assert still(opened, ("pod-styx-1", "pod-tethys-1")) == {("pod-styx-1", PUBLIC), ("pod-tethys-1", PUBLIC)}


def test_an_open_connection_ends_where_its_destination_is_allowed_no_longer(world, opened):
    world.on("tethys", "nft", "delete", "element", "inet", "oceanid", "allowed4", "{ 192.0.2.0/24 }")
    before = world.counter("tethys", "special_refused")
    assert still(opened, ("pod-styx-1", "pod-tethys-1")) == {("pod-styx-1", PUBLIC), ("pod-tethys-1", PUBLIC)}
    assert world.counter("tethys", "special_refused") >= before + 2


def test_an_open_connection_ends_with_its_client(world, opened):
    """The exit's own pods are none of its clients."""
    world.on("tethys", "nft", "delete", "element", "inet", "oceanid", "clients4", "{ 10.42.0.0/16 }")
    assert still(opened, ("pod-styx-1", "pod-tethys-1")) == {("pod-tethys-1", SERVICE), ("pod-tethys-1", PUBLIC)}


@pytest.mark.parametrize("node", ["styx", "tethys"])
def test_an_open_connection_ends_with_its_source(world, opened, node):
    source = f"10.42.{NODES[node][0]}.0/24"
    world.on(node, "ip", "rule", "del", "pref", "5160")
    world.on(node, "nft", "delete", "element", "inet", "oceanid", "sources4", f"{{ {source} }}")
    assert still(opened, (f"pod-{node}-1",)) == set()


def left_behind(world, port):
    """As netd says of a connection whose exit is gone."""
    world.on("styx", "nft", "add", "element", "inet", "oceanid", "reset4", f"{{ 10.42.1.11 . {port} . {SERVICE} . {PORT} }}")


def test_what_was_left_behind_is_reset_and_a_new_connection_with_its_ports_is_not(world):
    before = world.counter("styx", "flows_reset")
    left_behind(world, 41000)
    flow = Flow(world, "pod-styx-1", port=41000)
    try:
        assert "41000" not in world.on("styx", "nft", "list", "set", "inet", "oceanid", "reset4"), "the SYN takes its element out"
        assert flow.echo() and world.counter("styx", "flows_reset") == before
        left_behind(world, 41000)
        assert "reset by peer" in flow.answer()
        assert world.counter("styx", "flows_reset") > before
    finally:
        flow.close()


@pytest.mark.parametrize("node", list(NODES))
def test_no_leak_of_open_connections_when_all_rules_are_deleted(world, opened, node):
    world.remove_rules(node)
    still(opened)


@pytest.mark.parametrize("rp_filter", [0, 1])
@pytest.mark.parametrize("node", list(NODES))
def test_no_leak_when_all_rules_are_deleted(world, node, rp_filter):
    world.rp_filter(rp_filter)
    world.remove_rules(node)
    answers = try_all(world)
    assert all(refused(answer) or answer in EXITS for answer in answers.values())
    for device in ("oc-tethys", "oc-meliae"):
        if node != device[3:]:
            answer = world.seen(node, device=device, wait=0.4)
            assert refused(answer) or answer in EXITS
    assert refused(world.seen(node, "udp", source=NODES[node][3], wait=0.4))
    if node == "styx":
        assert all(refused(answers["pod-styx-1", kind]) for kind in ("tcp", "udp"))
        assert world.counter("styx", "leak_blocked") > 0


@pytest.mark.parametrize("device", ["oc-tethys", "oc-meliae"])
def test_no_leak_when_a_tunnel_is_deleted(device):
    """In a world of its own: the device does not come back."""
    with World() as world:
        for node in NODES:
            world.apply(node)
        assert world.seen("pod-styx-1") == "203.0.113.10"
        world.switch("styx", device)
        world.on("styx", "ip", "link", "del", device)
        assert refused(world.seen("pod-styx-1", "tcp", wait=0.5))
        assert refused(world.seen("pod-styx-1", "udp", wait=0.5))
        world.remove_rules("styx")
        assert refused(world.seen("pod-styx-1", "udp", wait=0.5))
        world.settle()
        assert world.leaks() == 0
        assert world.counter("internet", "private", "leaks") == 0


def test_an_exit_with_a_map_gives_each_source_its_address_and_the_others_none():
    """In a world of its own: its addresses are none that leaks are told from."""
    with World() as world:
        world.apply("styx")
        world.apply("tethys", "mapped-exit")
        for address in ("203.0.113.11", "203.0.113.12"):
            world.on("tethys", "ip", "addr", "add", f"{address}/28", "dev", "eth0")
        for kind in ("tcp", "udp"):
            assert world.seen("pod-styx-1", kind) == "203.0.113.11"
            assert world.seen("pod-styx-2", kind) == "203.0.113.12", "the longest prefix counts"
        assert refused(world.seen("styx", "udp", device="oc-tethys", wait=0.5)), "the tunnel's end is in no line of the map"
        # Were it let through, it would find no address: the last line is behind.
        world.on("tethys", "nft", "add", "element", "inet", "oceanid", "clients4", "{ 10.99.0.3 }")
        before = world.counter("tethys", "lastline_blocked")
        assert refused(world.seen("styx", "udp", device="oc-tethys", wait=0.5))
        assert world.counter("tethys", "lastline_blocked") > before
        world.settle()
        assert world.counter("internet", "private", "leaks") == 0


@pytest.mark.parametrize("held_by", ["rules", "nftables"])
def test_cluster_traffic_never_takes_the_uplink(held_by):
    """flannel.1 and the mesh are gone: main's default route would take pods' packets. Either layer holds them alone."""
    with World() as world:
        for node in NODES:
            world.apply(node)
        world.on("styx", "ip", "link", "del", "flannel.1")
        world.on("styx", "ip", "link", "del", "tailscale0")
        if held_by == "rules":
            world.on("styx", "nft", "flush", "ruleset")
        else:
            for priority in ["32765"] * 4:
                world.on("styx", "ip", "rule", "del", "pref", priority)
        for address in ("10.42.0.11", "10.43.0.1", "100.64.0.1"):
            assert refused(world.seen("pod-styx-1", "udp", host=address, wait=0.3))
        world.settle()
        assert world.counter("internet", "private", "leaks") == 0
        if held_by == "nftables":
            assert world.counter("styx", "leak_blocked") >= 3


def test_the_guard_alone_closes_everything(world):
    for node in ("styx", "tethys"):
        world.apply(node, f"{node}-guard")
        world.on(node, "ip", "route", "flush", "table", "13128")
        world.on(node, "ip", "route", "add", "unreachable", "default", "table", "13128", "metric", "4294967295")
        assert all(refused(answer) for answer in try_all(world, (f"pod-{node}-1",)).values())
        world.remove_rules(node)
        if node == "styx":
            assert all(refused(answer) for answer in try_all(world, (f"pod-{node}-1",)).values())


def test_a_forged_source_is_caught_without_nftables(world):
    world.on("pod-styx-1", "ip", "addr", "add", "10.42.9.9/32", "dev", "eth0")
    world.on("styx", "nft", "delete", "table", "inet", "oceanid")
    try:
        assert refused(world.seen("pod-styx-1", source="10.42.9.9", wait=0.4))
        assert refused(world.seen("pod-styx-1", "udp", source="10.42.9.9", wait=0.4))
    finally:
        world.on("pod-styx-1", "ip", "addr", "del", "10.42.9.9/32", "dev", "eth0")


# -- what must still be told -------------------------------------------------------------------------

def test_a_connection_that_the_exit_does_not_know_is_reset(world):
    """As after a switch: the new exit's conntrack has never seen it (tcp_loose off)."""
    world.rp_filter(1)
    world.on("meliae", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=0")
    flow = Flow(world, "pod-styx-1")
    try:
        assert flow.echo()
        world.switch("styx", "oc-meliae")
        assert "reset" in flow.answer(1.5).lower()
        assert world.counter("meliae", "invalid_reset") > 0
    finally:
        flow.close()
        world.on("meliae", "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_loose=1")


def test_errors_of_the_exit_come_back_by_the_tunnel(world):
    """Fragmentation needed, made by the exit for a client, without the CNI's way."""
    world.rp_filter(1)
    world.on("tethys", "ip", "link", "set", "flannel.1", "down")
    world.on("tethys", "ip", "link", "set", "eth0", "mtu", "1300")
    try:
        done = world.on("pod-styx-2", "ping", "-c2", "-W1", "-M", "do", "-s", "1350", SERVICE, check=False)
        assert "1300" in done
    finally:
        world.on("tethys", "ip", "link", "set", "eth0", "mtu", "1500")
        world.on("tethys", "ip", "link", "set", "flannel.1", "up")
        for far in ("styx", "meliae"):
            world.on("tethys", "ip", "route", "replace", f"10.42.{NODES[far][0]}.0/24", "via", f"10.42.{NODES[far][0]}.0", "dev", "flannel.1", "onlink")


def test_errors_about_what_a_tunnel_brings_do_not_leave_by_the_uplink(world):
    """The way to the pods is gone while answers come: the internet's servers must not hear of it from the node itself."""
    # The pods' packets still come in, and their answers have nowhere to go but main's default.
    world.on("styx", "ip", "route", "del", "10.42.1.0/24", "dev", "cni0")
    try:
        assert "100% packet loss" in world.on("pod-styx-1", "ping", "-c3", "-i0.2", "-W1", SERVICE, check=False)
        assert refused(world.seen("pod-styx-1", "udp", wait=0.5))
    finally:
        world.on("styx", "ip", "route", "add", "10.42.1.0/24", "dev", "cni0", "src", "10.42.1.1")
    world.settle()
    assert world.leaks() == 0
    assert world.counter("styx", "leak_blocked") > 0


def test_segments_fit_the_tunnel_in_both_directions(world):
    """MSS 1460 of both ends becomes 1380 at an MTU of 1420."""
    capture = subprocess.Popen(["ip", "netns", "exec", world.netns("internet"), "tcpdump", "-nvi", "tethys", "-c", "1", "tcp[13] == 2"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    capture.stderr.readline()
    inner = subprocess.Popen(["ip", "netns", "exec", world.netns("pod-styx-1"), "tcpdump", "-nvi", "eth0", "-c", "1", "tcp[13] == 18"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    inner.stderr.readline()
    assert world.seen("pod-styx-1") == "203.0.113.10"
    assert "mss 1380" in capture.communicate(timeout=10)[0]
    assert "mss 1380" in inner.communicate(timeout=10)[0]
