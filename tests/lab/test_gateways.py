"""Several gateways: they decide alike without asking each other, and an exit says who uses it."""
import json

from conftest import EXIT_ADDRESS


def current(lab, node):
    return next((one["name"] for one in lab.status(node)["exits"] if one["current"]), None)


def test_gateways_decide_alike_and_the_exit_says_who_uses_it(lab):
    """Two nodes, one fault: both move to the same exit without a word to each other, and both come back."""
    lab.reset_leaks()
    nodes = ("styx", "calypso")
    lab.wait_for(lambda: [current(lab, node) for node in nodes] == ["tethys"] * 2, 30)
    lab.fault("cut", "on", "tethys")
    try:
        lab.wait_for(lambda: [current(lab, node) for node in nodes] == ["meliae"] * 2, 15)
        for node in nodes:
            lab.wait_for(lambda: lab.seen_as(f"pod-{node}-1", check=False, patience=2) == EXIT_ADDRESS["meliae"], 20)
        prefixes = {lab.env()[f"LAB_POD_{node.upper()}_1_ADDRESS"] for node in nodes}
        uses = lambda: {one["address"] for one in lab.status("meliae")["serving"]["clients"]}
        lab.wait_for(lambda: prefixes <= uses(), 10)
    finally:
        lab.fault("cut", "off", "tethys")
    lab.wait_for(lambda: [current(lab, node) for node in nodes] == ["tethys"] * 2, 60)
    assert lab.leaks() == 0


def test_split_paths_split_the_choice_and_nothing_else(lab):
    """tethys is deaf to calypso alone: calypso leaves by meliae, styx stays."""
    lab.reset_leaks()
    address = json.loads(lab.exec("calypso", "ip", "-j", "route", "get", "203.0.113.10").stdout)[0]["prefsrc"]
    block = f"table inet labsplit {{ chain o {{ type filter hook prerouting priority -300; ip saddr {address} " \
            "ip daddr 203.0.113.10 udp dport 51820 drop; }; }"
    lab.exec("nat", "nft", block)
    try:
        lab.wait_for(lambda: current(lab, "calypso") == "meliae", 15)
        assert current(lab, "styx") == "tethys"
        assert lab.seen_as("pod-calypso-1") == EXIT_ADDRESS["meliae"]
        assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["tethys"]
    finally:
        lab.exec("nat", "nft", "delete", "table", "inet", "labsplit")
    lab.wait_for(lambda: current(lab, "calypso") == "tethys", 60)
    assert lab.leaks() == 0
