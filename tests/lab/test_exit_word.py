"""What an exit says of itself with every echo: nobody outside is asked, and no probe beyond it has to fail first."""
import re
import time

import pytest

from conftest import EXIT_ADDRESS

CONFIG = "/etc/oceanid/oceanid.yaml"


@pytest.fixture
def other_address(lab):
    """tethys translates to an address that is not the one its users expect."""
    before = lab.exec("tethys", "cat", CONFIG).stdout
    text, changed = re.subn(r"(?m)^  address: .*203\.0\.113\.10.*$", "  snat: 203.0.113.11", before)
    assert changed == 1
    lab.exec("tethys", "ip", "address", "replace", "203.0.113.11/28", "dev", "eth0")  # or the provider complains to the world
    lab.exec("tethys", "tee", CONFIG, input=text)
    try:
        yield lambda: lab.oceanid("tethys", "reload")
    finally:
        lab.exec("tethys", "tee", CONFIG, input=before)
        lab.oceanid("tethys", "reload")
        lab.wait_for(lambda: exit_of(lab)["usable"], 20)
        lab.exec("tethys", "ip", "address", "del", "203.0.113.11/28", "dev", "eth0")


def exit_of(lab):
    return next(one for one in lab.status("styx")["exits"] if one["name"] == "tethys")


def left_tethys(lab):
    """When the route leads elsewhere; nobody asks the gateway meanwhile, which would make it look."""
    def route():
        return lab.exec("styx", "ip", "route", "show", "default", "table", "13128").stdout
    lab.wait_for(lambda: " oc-meliae " in route(), 5, 0.02)
    return time.monotonic()


def test_an_exit_with_another_address_is_left_at_its_word(lab, other_address, capture, busy):
    assert not lab.status("styx")["targets"], "nobody outside is asked here"
    other_address()
    begun = time.monotonic()  # it is in force
    took = left_tethys(lab) - begun
    print(f"left {took:.2f} s after the reload")
    found = exit_of(lab)
    assert found["code"] == "wrong_address"
    assert found["reason"] == "exit says that it leaves with 203.0.113.11, expected 203.0.113.10"
    assert not found["usable"] and took < 3, took
    assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["meliae"]
    # New flows between the exit's change and its next echo.
    assert all(key.startswith("tethys 203.0.113.11 > ") for key in capture.wrong()), capture.wrong()
    capture.reset()
    lab.reset_leaks()
    lab.wait_for(lambda: EXIT_ADDRESS["meliae"] in busy().get("tcp", {}))
    assert capture.only_exits() > 0
    assert lab.leaks() == 0

def test_an_exit_whose_uplink_has_lost_its_address_says_so(lab):
    """Nodes that reach it by another line hear its echoes, and know that it leads nowhere."""
    before = lab.exec("tethys", "cat", CONFIG).stdout
    lab.exec("tethys", "ip", "link", "add", "uplink1", "type", "veth", "peer", "name", "uplink2")
    try:
        text = before.replace("  uplink: eth0\n", "  uplink: uplink1\n")
        assert text != before
        lab.exec("tethys", "tee", CONFIG, input=text)
        lab.oceanid("tethys", "reload")
        left_tethys(lab)
        found = exit_of(lab)
        assert found["code"] == "exit_uplink_down"
        assert found["reason"] == "tunnel fine, the exit says that its uplink is down" and not found["usable"]
        assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["meliae"]
    finally:
        lab.exec("tethys", "tee", CONFIG, input=before)
        lab.oceanid("tethys", "reload")
        lab.exec("tethys", "ip", "link", "delete", "uplink1")
        lab.wait_for(lambda: exit_of(lab)["usable"], 20)
