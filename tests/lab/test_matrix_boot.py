"""A node boots under its pods' traffic, in every order in which the guard, the uplink, the CNI and the gateway can come.

An order is ours to hold as long as the guard or the gateway, which closes the node itself, has come before both the uplink
and the CNI are there: 20 of the 24. In the other four nothing of ours runs when the way is open. With the package they
cannot happen: the guard's unit comes before network-pre.target and k3s (deploy/systemd/oceanid-guard.service), and each of
the four with its guard first is one of the 20. Without it the start-up taint keeps pods away, which the lab's pods do not
know. What remains to be held in them is that the leak ends with whichever of the two comes first, for open flows, too.
"""
import itertools

import pytest


PARTS = ("guard", "uplink", "cni", "gateway")
HELD = [order for order in itertools.permutations(PARTS)
        if min(order.index("guard"), order.index("gateway")) < max(order.index("uplink"), order.index("cni"))]
LATE = [order for order in itertools.permutations(PARTS) if order not in HELD]
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
    assert (len(HELD), len(LATE)) == (20, 4)
    assert {("guard", *(part for part in order if part != "guard")) for order in LATE} < set(HELD)


@pytest.mark.parametrize("node, order", [
    pytest.param(node, order, id=f"{node}: {', '.join(order)}", marks=() if (node, order) in USUAL else pytest.mark.long)
    for node in ("styx", "tethys") for order in HELD])
def test_nothing_leaks_while_a_node_boots(witness, node, order):
    with witness.case():
        switched_off(witness, node)
        for part in order:
            come(witness, node, part)


@pytest.mark.parametrize("order", [pytest.param(order, id=", ".join(order), marks=pytest.mark.long if number else ())
                                   for number, order in enumerate(LATE)])
def test_a_node_that_leaks_is_closed_by_the_first_that_comes(witness, order):
    """It must leak before, or else the orders above would prove nothing. (On an exit Flannel's masquerade hides it.)"""
    with witness.case():
        switched_off(witness, "styx")
        for part in order[:2]:
            come(witness, "styx", part)
        seen = "styx 198.51.100.30 > 192.0.2.12 "
        witness.lab.wait_for(lambda: {seen + "6", seen + "17"} <= set(witness.wrong()[0]), 10)
        come(witness, "styx", order[2])
        witness.reset()
        witness.all_tried()
        come(witness, "styx", order[3])
