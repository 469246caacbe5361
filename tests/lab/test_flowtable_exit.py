"""An exit whose clients' established connections skip its rule set (serve_exit.flowtable): all that leaves is translated,
whatever is taken away, and who is no client any more is refused."""
import json
import re
import signal
import time

import pytest

from conftest import EXIT_ADDRESS
from matrix import Worker
from test_flowtable import BUSY, COUNT, SIZE, STREAM, Fast, Line

pytestmark = pytest.mark.flowtable
EXIT = EXIT_ADDRESS["tethys"]
CLIENTS = ("pod-styx-1", "pod-tethys-1")  # by the hub, and a pod of the exit's own


class FastExit(Fast):
    node = "tethys"

    def change(self, edit):
        text = edit(re.sub(r"^serve_exit:\n", "serve_exit:\n  flowtable: true\n", self.original, flags=re.M))
        assert text != self.original
        self.write(text)


@pytest.fixture
def fast(lab):
    fast = FastExit(lab)
    acct = lab.exec("tethys", "sysctl", "-n", "net.netfilter.nf_conntrack_acct").stdout.strip()
    fast.sysctl("net.netfilter.nf_conntrack_acct", 1)
    fast.bridge(0)
    fast.change(lambda text: text)
    fast.in_use()
    yield fast
    fast.netd(signal.SIGCONT)
    fast.bridge(1)
    fast.sysctl("net.netfilter.nf_conntrack_acct", acct)
    lab.exec("tethys", "nft", "delete", "table", "inet", "seen", check=False)
    fast.write(fast.original)
    lab.wait_for(lambda: fast.state() == "off", 30)


class Traffic:
    """Pods that never rest, and what of it arrives in the internet."""

    def __init__(self, lab, fast):
        self.lab, self.fast = lab, fast
        self.lines = {}
        self.open()
        self.capture = Worker(lab, "internet", "capture")
        assert self.capture.hear() == "ready\n"

    def open(self):
        """Anew: connections that took the other exit meanwhile stay there until they are drained."""
        for line in self.lines.values():
            line.close()
        self.lines = {pod: Line(self.lab, BUSY, pod=pod) for pod in CLIENTS}

    def carried(self, pods=CLIENTS, seconds=60):
        for pod in pods:
            self.lines[pod].ask()
            self.lab.wait_for(lambda pod=pod: {f"tcp {EXIT}", f"udp {EXIT}"} <= set(json.loads(self.lines[pod].ask())),
                              seconds, 0.5)

    def recovered(self):
        self.lab.healthy(60)
        self.open()
        self.carried()
        self.fast.in_use()
        self.lab.wait_for(lambda: len(self.fast.offloaded("tcp")) >= 2 and len(self.fast.offloaded("udp")) >= 2, 30)
        return self.nothing_leaked()

    def nothing_leaked(self):
        seen = self.capture.report()
        assert seen["lost"] == 0 and seen["wrong"] == {}, seen
        assert self.lab.leaks() == 0
        return seen["right"]

    def close(self):
        self.capture.close()
        for line in self.lines.values():
            line.close()


@pytest.fixture
def traffic(lab, fast):
    traffic = Traffic(lab, fast)
    try:
        traffic.carried()
        traffic.capture.say("reset")
        lab.reset_leaks()
        traffic.recovered()
        yield traffic
    finally:
        traffic.close()


def test_clients_skip_the_rules_and_are_counted_once(lab, fast):
    assert fast.devices() == {"cni0", "oc-hub", "eth0"}
    for pod in CLIENTS:
        line = Line(lab, STREAM, str(SIZE), pod=pod)
        try:
            assert line.hear() == EXIT
            assert line.ask("5") == "done"
            lab.wait_for(lambda: fast.offloaded("tcp"))
            fast.nft(COUNT)
            assert line.ask("200") == "done"
            fast.skipped_the_rules()
            counted = max(([int(count) for count in re.findall(r"bytes=(\d+)", entry)] for entry in fast.offloaded("tcp")),
                          key=sum)
            assert len(counted) == 2 and all(205 * SIZE < count < 1.4 * 205 * SIZE for count in counted), fast.entries()
        finally:
            line.close()
        lab.exec("tethys", "nft", "delete", "table", "inet", "seen")
        lab.wait_for(lambda: not fast.offloaded("tcp"), 30)
    assert lab.leaks() == 0


def test_rules_taken_away_while_nobody_repairs_it(lab, fast, traffic):
    fast.netd(signal.SIGSTOP)
    lab.fault("flush-nft", "on", "tethys")
    for _ in range(4):
        lab.wait_for(lambda: json.loads(traffic.lines["pod-styx-1"].ask()), 10)
        time.sleep(0.5)
    traffic.nothing_leaked()
    fast.netd(signal.SIGCONT)
    lab.fault("flush-nft", "off", "tethys")
    traffic.recovered()


def test_netd_dies(lab, fast, traffic):
    fast.netd(signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("tethys", "oceanid-netd"))
    traffic.carried(("pod-tethys-1",), 10)  # the others have left it within a second
    lab.run("gateway", "start", "tethys")
    assert traffic.recovered() > 100


def test_who_is_no_client_any_more_is_refused_in_the_middle(lab, fast, traffic):
    fast.change(lambda text: re.sub(r"^(  clients: )\[.*\]$", r"\1[10.42.0.0/24, 10.99.0.0/24]", text, flags=re.M))
    line = traffic.lines["pod-styx-1"]
    line.ask()
    lab.wait_for(lambda: not {key for key in json.loads(line.ask()) if key.endswith(EXIT)}, 30, 2)
    traffic.carried(("pod-tethys-1",))
    traffic.nothing_leaked()
    fast.change(lambda text: text)
    traffic.recovered()
