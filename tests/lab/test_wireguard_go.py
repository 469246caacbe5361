"""Which wireguard-go carries the tunnels: an old one is named, another is used when the configuration says so."""
import json
import os
import pathlib
import re

import pytest

CONFIG = "/etc/oceanid/oceanid.yaml"
NODE, POD = "styx", "pod-styx-1"
COPY = "/var/lib/oceanid/another-wireguard-go"


class Daemons:
    def __init__(self, lab):
        self.lab = lab
        self.log = pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-{NODE}.log")
        self.before = lab.exec(NODE, "cat", CONFIG).stdout

    def restart(self, config):
        """Of the node: its devices are made anew."""
        lab = self.lab
        lab.run("gateway", "stop", NODE)
        lab.exec(NODE, "sh", "-c", "for d in $(ls /sys/class/net | grep '^oc-'); do ip link delete $d; done")
        lab.exec(NODE, "tee", CONFIG, input=config)
        self.read = self.log.stat().st_size
        lab.run("gateway", "start", NODE)
        lab.wait_for(lambda: all(one["usable"] for one in lab.status(NODE)["exits"]), 30)

    def said(self, what):
        with self.log.open() as log:
            log.seek(self.read)
            return [json.loads(line) for line in log if what in line]

    def programs(self, comm):
        return [os.readlink(f"/proc/{pid}/exe") for pid in self.lab.pids(NODE, comm)]


@pytest.fixture
def daemons(lab):
    if lab.exec(NODE, "wireguard-go", "--version").stdout.split()[1].lstrip("v") >= "0.0.20230223":
        pytest.skip("the wireguard-go of this machine is not an old one")
    daemons = Daemons(lab)
    try:
        yield daemons
    finally:
        daemons.restart(daemons.before)
        lab.exec(NODE, "rm", "-f", COPY)


def test_an_old_one_is_named_once_and_a_path_to_another_is_followed(lab, daemons):
    version = lab.exec(NODE, "wireguard-go", "--version").stdout.split()[1].lstrip("v")
    lab.exec(NODE, "sh", "-c", f"cp $(command -v wireguard-go) {COPY}")
    text = re.sub(r"(?m)^tunnel:\n", f"\\g<0>  wireguard_go: {COPY}\n", daemons.before)
    assert text != daemons.before
    daemons.restart(text)
    # Its own name is cut at fifteen characters.
    assert daemons.programs(os.path.basename(COPY)[:15]) == [COPY, COPY] and daemons.programs("wireguard-go") == []
    assert lab.seen_as(POD) == "203.0.113.10"
    shown = lab.wait_for(lambda: (now := {one["version"] for one in lab.status(NODE)["tunnels"]}) == {version} and now)
    assert shown == {version}
    warning, = daemons.said("from before 0.0.20230223")
    assert warning["level"] == "warn" and warning["version"] == version and "WIREGUARD.md" in warning["message"]
