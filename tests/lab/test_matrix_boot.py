"""A node boots under its pods' traffic, in every order in which the guard, the uplink, the CNI and the gateway can come.

The guard's unit is ordered before the network (deploy/systemd/oceanid-guard.service), and the gateway closes the node
itself. So an order is ours to hold as long as one of the two has come before both the uplink and the CNI are there;
the rest is held by the start-up taint, which keeps pods away.
"""
import itertools

import pytest


PARTS = ("guard", "uplink", "cni", "gateway")
HELD = [order for order in itertools.permutations(PARTS)
        if min(order.index("guard"), order.index("gateway")) < max(order.index("uplink"), order.index("cni"))]
USUAL = (("styx", ("guard", "uplink", "cni", "gateway")), ("tethys", ("cni", "gateway", "uplink", "guard")))


def switched_off(witness, node):
    """As before a boot: no process, no state of ours, no link."""
    lab = witness.lab
    lab.fault("link-gone", node, "on", "cni0")
    lab.fault("link-gone", node, "on", "eth0")
    lab.run("gateway", "stop", node)
    lab.oceanid(node, "down")
    assert "oceanid" not in lab.exec(node, "nft", "list", "tables").stdout


def come(witness, node, part):
    if part == "guard":
        witness.lab.oceanid(node, "guard")
    elif part == "gateway":
        witness.lab.run("gateway", "start", node)
        # Taken: the closed state is applied before anything else.
        witness.lab.wait_for(lambda: "oceanid" in witness.lab.exec(node, "nft", "list", "tables").stdout)
    else:
        witness.lab.fault("link-gone", node, "off", {"uplink": "eth0", "cni": "cni0"}[part])


def test_all_orders_are_there():
    assert len(HELD) == 20


@pytest.mark.parametrize("node, order", [
    pytest.param(node, order, id=f"{node}: {', '.join(order)}", marks=() if (node, order) in USUAL else pytest.mark.long)
    for node in ("styx", "tethys") for order in HELD])
def test_nothing_leaks_while_a_node_boots(witness, node, order):
    with witness.case():
        switched_off(witness, node)
        for part in order:
            come(witness, node, part)


def test_without_guard_and_gateway_a_booting_node_leaks(witness):
    """Or else the orders above would prove nothing."""
    switched_off(witness, "styx")
    witness.reset()
    for part in ("uplink", "cni"):
        come(witness, "styx", part)
    try:
        witness.lab.wait_for(lambda: witness.wrong()[0], 10)
    finally:
        come(witness, "styx", "gateway")
    witness.carried()
