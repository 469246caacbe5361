"""Whatever breaks on a node, nothing reaches the internet from another source than an exit's address.

The matrix, and where each case is:

| case | test |
|---|---|
| the witnesses themselves | test_the_witnesses_see_a_leak, here; test_lab.py |
| boot order: guard, uplink, CNI, gateway under traffic | test_matrix_boot.py; test_down.py::test_the_guard_alone_closes_a_node |
| netd killed, frozen; the worker, everything killed | test_killed, test_frozen |
| all gateways restarted, upgraded, one after the other | test_restarted, test_upgraded |
| tunnel deleted and made again | test_a_tunnel_is_deleted; for recorded plans test_plan_on_kernel.py |
| tailscale0, flannel.1, cni0, eth0 gone and back | test_a_neighbours_link_goes_and_returns |
| exit powered off, its uplink dead, a worker's line cut | test_an_exit_is_powered_off, test_an_exits_uplink_is_dead, test_a_line_is_cut |
| exit without NAT, with the wrong address | test_an_exit_without_nat, test_an_exit_with_the_wrong_address |
| our rules and routes deleted, everybody's deleted (systemd-networkd) | test_our_rules_and_routes_are_deleted, test_networkd_purges |
| nft flush ruleset | test_nft_is_flushed; for recorded plans test_plan_on_kernel.py |
| Flannel's masquerade emptied and refilled, kube-proxy's other mode | test_flannel_masquerades_anew, test_kube_proxy_changes_its_mode |
| NodePort in both policies, inbound connections, rp_filter 0, 1, 2 | test_matrix_inbound.py |
| excluded CIDR; ICMP errors: port unreachable, fragmentation needed | test_matrix_destinations.py |
| MTU 1500, 1420, 1280, 1230, IPv4 and IPv6 | test_matrix_families.py |
| dual-stack pods under routing.ipv6 block, exit, ignore | test_matrix_families.py |
| a refused configuration | test_a_refused_reload_changes_nothing |
| uninstalled, byte for byte | test_down.py |

A quarter of it runs by default, the rest with --long.
"""
import os
import re
import signal
import time

import pytest

from conftest import EXIT_ADDRESS, NODES, PROXY
from matrix import UNTURNED

EXITS = ("tethys", "meliae")


def rest(*values):
    """Values that only a long run takes."""
    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long) for value in values]


def test_the_witnesses_see_a_leak(witness):
    """Without this, witnesses that are blind would pass every other test."""
    witness.reset()
    witness.lab.exec("styx", "curl", "-4sS", "-m", "3", "https://192.0.2.11/", check=False)
    wrong, leaks = witness.wrong()
    assert leaks > 0
    assert [key for key in wrong if key.startswith("styx 198.51.100.30 > 192.0.2.11")]
    witness.reset()
    witness.carried()
    assert witness.capture.report()["right"] > 0
    witness.nothing_leaked()


def restart(witness, node):
    return lambda: witness.lab.fault("kill", node, "off")


@pytest.mark.parametrize("what", ["netd", *rest("worker", "all")])
def test_killed(witness, what):
    with witness.case() as undo:
        for node in NODES:
            witness.lab.fault("kill", node, "on", what)
            undo.callback(restart(witness, node))


@pytest.mark.parametrize("nodes", [NODES, *rest(*[((one,),) for one in NODES])], ids="-".join)
def test_frozen(witness, nodes):
    with witness.case() as undo:
        for node in nodes:
            witness.lab.fault("freeze", node, "on")
            undo.callback(witness.lab.fault, "freeze", node, "off")


@pytest.mark.long
def test_restarted(witness):
    with witness.case():
        for node in NODES:
            witness.lab.run("gateway", "restart", node)


@pytest.mark.parametrize("nodes", [NODES, *rest(*[((one,),) for one in NODES])], ids="-".join)
def test_upgraded(witness, nodes):
    """The program replaces itself (SIGUSR2): the next life proves its exits anew, so what begins meanwhile may be refused;
    connections that are open go on, but for those that a planned switch has left with the former exit (rule 5155)."""
    witness.lab.healthy()
    steered = [node for node in NODES if witness.lab.exec(node, "ip", "rule", "show", "pref", "5160").stdout]
    assert steered
    witness.lab.wait_for(lambda: not any(witness.lab.exec(node, "ip", "rule", "show", "pref", "5155").stdout for node in steered), 150, 1)
    with witness.case():
        for node in nodes:
            netd, workers = witness.lab.pids(node, "oceanid-netd"), witness.lab.pids(node, "oceanid-worker")
            os.kill(netd[0], signal.SIGUSR2)
            witness.lab.wait_for(lambda node=node: set(witness.lab.pids(node, "oceanid-worker")) - set(workers), 10, 0.05)
            assert witness.lab.pids(node, "oceanid-netd") == netd, "the same process, another life"
        time.sleep(1.5)  # longer than a pod waits for an answer
        found = {pod: set(witness.flows(pod)["tcp-open"]) for pod in witness.pods}
        assert all(outcomes and outcomes <= {*EXIT_ADDRESS.values()} for outcomes in found.values()), found


@pytest.mark.parametrize("node, device", [("styx", "oc-tethys"), ("tethys", "oc-hub"),
                                          *rest(("styx", "oc-meliae"), ("tethys", "oc-meliae"), ("calypso", "oc-tethys"))])
def test_a_tunnel_is_deleted(witness, node, device):
    with witness.case():
        witness.lab.exec(node, "ip", "link", "del", device)
    witness.lab.wait_for(lambda: witness.lab.exec(node, "ip", "link", "show", device, check=False).returncode == 0)


@pytest.mark.parametrize("node, link", [("styx", "tailscale0"), ("tethys", "cni0"),
                                        *rest(*[(node, link) for node in ("styx", "tethys")
                                                for link in ("tailscale0", "flannel.1", "cni0", "eth0")
                                                if (node, link) not in (("styx", "tailscale0"), ("tethys", "cni0"))])])
def test_a_neighbours_link_goes_and_returns(witness, node, link):
    """k3s #14142: a restart of Tailscale takes Flannel's device with it."""
    with witness.case() as undo:
        witness.lab.fault("link-gone", node, "on", link)
        undo.callback(witness.lab.fault, "link-gone", node, "off", link)
    env = witness.lab.env()
    other = "tethys" if node == "styx" else "styx"
    witness.lab.exec(f"pod-{node}-2", "ping", "-c", "1", "-W", "3", env[f"LAB_POD_{other.upper()}_1_ADDRESS"])


@pytest.mark.parametrize("node", ["tethys", *rest("meliae")])
def test_an_exit_is_powered_off(witness, node):
    """Frozen and cut at once; the others' pods go on by the other exit."""
    other = EXIT_ADDRESS[EXITS[EXITS.index(node) - 1]]
    with witness.case() as undo:
        for fault in ("cut", "freeze"):
            witness.lab.fault(fault, node, "on")
            undo.callback(witness.lab.fault, fault, node, "off")
        witness.carried(pods=["pod-styx-1", "pod-calypso-1"], seen={other})


@pytest.mark.parametrize("node", ["tethys", *rest("meliae")])
def test_an_exits_uplink_is_dead(witness, node):
    other = EXIT_ADDRESS[EXITS[EXITS.index(node) - 1]]
    with witness.case() as undo:
        witness.lab.fault("uplink-down", node, "on")
        undo.callback(witness.lab.fault, "uplink-down", node, "off")
        witness.carried(pods=["pod-styx-1", "pod-calypso-1"], seen={other})


@pytest.mark.parametrize("node", rest("styx", "calypso"))
def test_a_line_is_cut(witness, node):
    with witness.case() as undo:
        witness.lab.fault("cut", node, "on")
        undo.callback(witness.lab.fault, "cut", node, "off")


@pytest.mark.parametrize("node", rest("tethys", "meliae"))
def test_an_exit_without_nat(witness, node):
    """Our chain and Flannel's are emptied: what nobody translates does not leave."""
    with witness.case() as undo:
        witness.lab.fault("nat-off", node, "on")
        undo.callback(witness.lab.fault, "nat-off", node, "off")


@pytest.fixture
def asking(witness):
    """Every node asks the world by which address each exit is seen; gives what a node says of its exits."""
    witness.mend()
    lab, config, before = witness.lab, "/etc/oceanid/oceanid.yaml", {}
    exits = lambda node: lab.status(node)["exits"]
    try:
        for node in NODES:
            before[node] = lab.exec(node, "cat", config).stdout
            text = before[node].replace("health: { ", 'health: { exit_ip: { url: "https://ip.example.test/", interval: 1s }, ')
            assert text != before[node]
            lab.exec(node, "tee", config, input=text)
            lab.oceanid(node, "reload")
        for node in NODES:
            lab.wait_for(lambda node=node: all(one["usable"] for one in exits(node)))
        yield exits
    finally:
        for node, text in before.items():
            lab.exec(node, "tee", config, input=text)
            lab.oceanid(node, "reload")


@pytest.mark.parametrize("node", ["tethys", *rest("meliae")])
def test_an_exit_with_the_wrong_address(witness, asking, node):
    """Behind the exit somebody translates to another address. Nodes that ask the world find out and leave it; from then on
    nothing has that address but the question itself, which is asked by this exit until the answer is right again."""
    lab = witness.lab
    address = EXIT_ADDRESS[node].rsplit(".", 1)
    strange = f"{address[0]}.{int(address[1]) + 1}"
    other = EXITS[EXITS.index(node) - 1]
    left = lambda who: all(one["code"] == "wrong_address" and not one["usable"] if one["name"] == node else one["current"]
                           for one in asking(who))
    witness.reset()
    lab.fault("wrong-nat", node, "on")
    try:
        lab.wait_for(lambda: any(f" {strange} > " in key for key in witness.wrong()[0]))
        for who in NODES:
            lab.wait_for(lambda who=who: left(who))
        witness.carried(seen={EXIT_ADDRESS[other]})
        question = re.compile(rf"^{node} {re.escape(strange)} > 192\.0\.2\.11 6( reset)?$")
        with witness.case(seconds=3, tolerated=question):
            pass
        assert all(left(who) for who in NODES)
    finally:
        lab.fault("wrong-nat", node, "off")
    for who in NODES:
        lab.wait_for(lambda who=who: all(one["usable"] for one in asking(who)), 60)
    with witness.case():
        pass


@pytest.mark.parametrize("nodes", [NODES, *rest(*[((one,),) for one in NODES])], ids="-".join)
def test_our_rules_and_routes_are_deleted(witness, nodes):
    """While a download through the proxy runs."""
    downloads = [witness.lab.popen(f"pod-{node}-2", "curl", "-sS", "-m", "20", "--limit-rate", "2M", "-o", "/dev/null", "-x", PROXY,
                                   "https://www.example.test/bytes/6000000") for node in nodes]
    with witness.case() as undo:
        for download in downloads:
            undo.callback(download.communicate, timeout=30)
        for node in nodes:
            witness.lab.fault("purge-routes", node, "on")


@pytest.mark.parametrize("nodes", [NODES, *rest(*[((one,),) for one in NODES])], ids="-".join)
def test_networkd_purges(witness, nodes):
    """Three times over, as when a cluster's nodes are upgraded; Tailscale and Flannel come back later than we."""
    with witness.case() as undo:
        for _ in range(3):
            for node in nodes:
                witness.lab.fault("networkd-purge", node, "on")
        for node in nodes:
            undo.callback(witness.lab.fault, "networkd-purge", node, "off")


@pytest.mark.parametrize("nodes", [NODES, *rest(*[((one,),) for one in NODES])], ids="-".join)
def test_nft_is_flushed(witness, nodes):
    """The neighbours' tables, too. What goes to the internet is held by the rules alone."""
    with witness.case(tolerated=UNTURNED) as undo:
        for node in nodes:
            witness.lab.fault("flush-nft", node, "on")
            undo.callback(witness.lab.fault, "flush-nft", node, "off")


def test_flannel_masquerades_anew(witness):
    """flannel #2237: its chain is empty for a while, then full again, before or behind ours makes no difference."""
    with witness.case() as undo:
        for node in NODES:
            witness.lab.fault("flannel-flush", node, "on")
            undo.callback(witness.lab.fault, "flannel-flush", node, "off")
        witness.carried()  # nobody needs Flannel's for this


@pytest.mark.long
def test_kube_proxy_changes_its_mode(witness):
    with witness.case() as undo:
        for node in NODES:
            witness.lab.fault("kube-proxy-mode", node, "on")
            undo.callback(witness.lab.fault, "kube-proxy-mode", node, "off")
        witness.carried()
        for node in NODES:  # by the service's address
            assert witness.lab.seen_as(f"pod-{node}-2", proxy=PROXY) in EXIT_ADDRESS.values()


def test_a_refused_reload_changes_nothing(witness):
    lab = witness.lab
    with witness.case(seconds=0.5):
        for text in ("proxy: { listners: [] }", "not: [closed", ""):
            lab.exec("styx", "bash", "-c", "cp /etc/oceanid/oceanid.yaml /etc/oceanid/good; cat > /etc/oceanid/oceanid.yaml",
                     input=text + "\nunknown: 1\n")
            try:
                refused = lab.oceanid("styx", "reload", "--socket", "/run/oceanid/control.sock", check=False)
                assert refused.returncode != 0
                assert "what runs goes on" in refused.stderr
            finally:
                lab.exec("styx", "cp", "/etc/oceanid/good", "/etc/oceanid/oceanid.yaml")
            assert lab.seen_as("pod-styx-1", proxy=PROXY) in EXIT_ADDRESS.values()
        lab.oceanid("styx", "reload")
        assert lab.status("styx")["configuration_error"] == ""
