"""Two exits of one priority: the healthier one carries the traffic, whatever their order, and it stays there."""
import re
import time

import pytest

from conftest import EXIT_ADDRESS

CONFIG = "/etc/oceanid/oceanid.yaml"
SETTLE = 30  # ExitSelector::settle


@pytest.fixture
def equals(lab):
    before = lab.exec("styx", "cat", CONFIG).stdout
    text, changed = re.subn(r"(?m)^( *- \{ name: (?:tethys|meliae), peer:.*) \}$", r"\1, priority: 1 }", before)
    assert changed == 2, before
    try:
        lab.exec("styx", "tee", CONFIG, input=text)
        lab.oceanid("styx", "reload")
        yield lab
    finally:
        lab.run("fault", "loss", "off", "tethys", check=False)
        lab.exec("styx", "tee", CONFIG, input=before)
        lab.oceanid("styx", "reload")


def current(lab):
    return next((one["name"] for one in lab.status("styx")["exits"] if one["current"]), None)


def state(lab, name):
    return next(one["state"] for one in lab.status("styx")["exits"] if one["name"] == name)


def test_of_two_equal_exits_the_one_that_loses_packets_gives_way(equals):
    lab = equals
    assert current(lab) == "tethys", "exits that become equal leave the traffic where it is"
    begun = time.monotonic()
    lab.fault("loss", "on", "tethys", "5")
    lab.wait_for(lambda: state(lab, "tethys") == "degraded", 30)
    assert current(lab) == "tethys", "a moment's loss moves nothing"
    lab.wait_for(lambda: current(lab) == "meliae", SETTLE + 30)
    print(f"moved {time.monotonic() - begun:.1f} s after the loss began")
    assert lab.seen_as("pod-styx-1") == EXIT_ADDRESS["meliae"]
    lab.fault("loss", "off", "tethys")
    lab.wait_for(lambda: state(lab, "tethys") == "up", 60)
    end = time.monotonic() + SETTLE + 5
    while time.monotonic() < end:
        assert current(lab) == "meliae", "an equal one that is no better is not gone back to"
        time.sleep(1)
    assert lab.leaks() == 0
