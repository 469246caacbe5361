"""A remote node that restarts, and one that moves: the tunnel to it is back in no time, by itself."""
import re
import time

import pytest

CONFIG = "/etc/oceanid/oceanid.yaml"
EXIT, NODE, POD = "tethys", "styx", "pod-styx-1"
MOVED = "203.0.113.12"  # another address of the exit's


@pytest.fixture(scope="module")
def single(whole_lab):
    """styx has one exit, so that nothing else carries its traffic."""
    lab = whole_lab
    before = lab.exec(NODE, "cat", CONFIG).stdout
    text = re.sub(r"(?m)^  - \{ name: meliae, .*\n", "", before)
    assert text != before
    try:
        lab.exec(NODE, "tee", CONFIG, input=text)
        lab.oceanid(NODE, "reload")
        lab.wait_for(lambda: [one["name"] for one in lab.status(NODE)["exits"]] == [EXIT])
        lab.wait_for(lambda: lab.seen_as(POD, check=False, patience=2) == "203.0.113.10")
        yield lab
    finally:
        lab.exec(NODE, "tee", CONFIG, input=before)
        lab.oceanid(NODE, "reload")
        # Answers that name the other address are good for half a minute; whoever asks meanwhile moves there and back.
        time.sleep(31)
        lab.healthy(60)


class Pings:
    """Twenty a second from a pod to the internet, each with the moment at which its answer came."""

    def __init__(self, lab):
        self.process = lab.popen(POD, "ping", "-D", "-n", "-i", "0.05", "192.0.2.10")

    def answers(self):
        self.process.send_signal(2)
        out, _ = self.process.communicate(timeout=10)
        return [float(moment) for moment in re.findall(r"^\[([0-9.]+)\] .* bytes from ", out, re.M)]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def pings(single):
    single.reset_leaks()  # what tests of other files caused on purpose
    started = Pings(single)
    try:
        yield started
    finally:
        started.close()


def test_a_restarted_remote_is_back_at_once(single, pings, record_property):
    """Its WireGuard has lost every session; what dials it makes a new one without waiting for WireGuard's timers."""
    lab = single
    time.sleep(1)
    lab.fault("kill", "on", EXIT, "all")
    # A restart of the gateway alone takes its tunnels over as they are; one of the machine does not.
    for link in re.findall(r"^\d+: (oc-[^:@]+)", lab.exec(EXIT, "ip", "-o", "link").stdout, re.M):
        lab.exec(EXIT, "ip", "link", "delete", link)
    time.sleep(3)
    lab.fault("kill", "off", EXIT)
    # Back is the remote when its tunnel has its address and lets packets through.
    lab.wait_for(lambda: lab.exec(EXIT, "ip", "-4", "-o", "address", "show", "dev", "oc-hub", check=False).stdout, 20, every=0.02)
    back = time.time()
    lab.wait_for(lambda: lab.status(NODE)["exits"][0]["usable"], 20)
    time.sleep(1)
    answers = pings.answers()
    first = min(moment for moment in answers if moment > back - 1)
    record_property("seconds", round(first - back, 2))
    print(f"first answer {first - back:.2f} s after the remote was back")
    assert first - back < 1.5
    assert lab.leaks() == 0


def test_a_remote_whose_name_has_another_address_is_followed(single, pings, record_property):
    """The name servers say something else from now on, and the former address is dead."""
    lab = single
    time.sleep(1)
    lab.fault("moved", "on", EXIT, MOVED)
    cut = time.time()
    try:
        lab.wait_for(lambda: tunnel(lab)["endpoint"].startswith(MOVED), 20)
        lab.wait_for(lambda: lab.status(NODE)["exits"][0]["usable"], 20)
        time.sleep(1)
        answers = pings.answers()
        first = min(moment for moment in answers if moment > cut + 0.5)
        record_property("seconds", round(first - cut, 2))
        print(f"first answer {first - cut:.2f} s after the former address died")
        assert first - cut < 10
    finally:
        lab.fault("moved", "off", EXIT)
    lab.healthy(60)


def test_a_name_that_leaves_an_address_behind_is_followed_without_need(single, pings, record_property):
    """The former address goes on working, so that nothing but asking again and again finds out that it is not the name's."""
    lab = single
    time.sleep(1)
    lab.fault("moved", "on", EXIT, MOVED, "alive")
    changed = time.time()
    try:
        # An answer is good for half a minute in this lab, and a name is asked for twice a minute.
        lab.wait_for(lambda: tunnel(lab)["endpoint"].startswith(MOVED), 30 + 30 + 10)
        record_property("seconds", round(time.time() - changed, 1))
        time.sleep(1)
        answers = pings.answers()
        assert max(after - before for before, after in zip(answers, answers[1:])) < 1, "the session went on"
        assert answers[-1] > changed and lab.status(NODE)["exits"][0]["usable"]
    finally:
        lab.fault("moved", "off", EXIT)
    lab.healthy(60)


def tunnel(lab):
    return next(one for one in lab.status(NODE)["tunnels"] if one["device"] == f"oc-{EXIT}")
