"""A node that starts with a clock older than its last handshake: it says so, and carries what it can."""
import json
import pathlib
import time

import pytest

NODE, POD = "styx", "pod-styx-1"
KEPT = "/var/lib/oceanid/last-handshake"


class Clock:
    """What the node remembers, and what it has said since its last start."""

    def __init__(self, lab):
        self.lab = lab
        self.log = pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-{NODE}.log")

    def kept(self):
        return int(self.lab.exec(NODE, "cat", KEPT).stdout)

    def restart(self, kept=None):
        """The clock of a machine is not a test's to change: its memory is."""
        self.lab.run("gateway", "stop", NODE)
        if kept:
            self.lab.exec(NODE, "tee", KEPT, input=f"{kept}\n")
        self.read = self.log.stat().st_size
        self.lab.run("gateway", "start", NODE)
        self.lab.wait_for(lambda: self.lab.seen_as(POD, check=False, patience=2) == "203.0.113.10")

    def warnings(self):
        with self.log.open() as log:
            log.seek(self.read)
            return [json.loads(line) for line in log if "the clock is behind" in line]

    def finding(self):
        findings = json.loads(self.lab.oceanid(NODE, "check", "--system", "--json", check=False).stdout)["findings"]
        return next(one for one in findings if one["topic"] == "clock")


@pytest.fixture
def clock(lab):
    clock = Clock(lab)
    yield clock
    lab.exec(NODE, "rm", "-f", KEPT)
    clock.restart()


def test_an_older_clock_is_named_and_stops_nothing(lab, clock):
    clock.restart()
    # Echoes make WireGuard renew its session every two minutes; the end of the gateway wrote the last one down.
    assert -5 < time.time() - clock.kept() < 200
    assert clock.finding()["severity"] == "ok" and clock.warnings() == []

    ahead = int(time.time()) + 3600
    clock.restart(kept=ahead)
    said, = lab.wait_for(clock.warnings)
    assert said["level"] == "warn" and 3500 < int(said["behind_seconds"]) <= 3600 and KEPT in said["remedy"]
    assert "peers refuse" in clock.finding()["what"] and KEPT in clock.finding()["remedy"]
    # While tunnels carry it is no trouble. The other exit is asked for the first time after this start.
    lab.wait_for(lambda: lab.status(NODE)["diagnosis_code"] not in ("spare_down", "degraded"), 30)
    assert lab.status(NODE)["diagnosis_code"] == "ok"

    lab.fault("kill", "on", "meliae", "all")
    try:
        status = lab.wait_for(lambda: (now := lab.status(NODE))["diagnosis_code"] == "clock_went_back" and now)
        assert "went back by 3" in status["diagnosis"] and "set it" in status["diagnosis"]
        assert lab.seen_as(POD) == "203.0.113.10"
    finally:
        lab.fault("kill", "off", "meliae")
    clock.restart()
    assert clock.kept() == ahead, "handshakes by the older clock do not make the newer one forgotten"
    assert lab.leaks() == 0
