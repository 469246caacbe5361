"""Changes that nobody confirms go back by themselves: kernel, configuration and worker, without a packet astray."""
import json
import os
import pathlib
import re
import signal
import time

import pytest

from conftest import PROXY

FILE = "/etc/oceanid/oceanid.yaml"
# Rules of one preference have one action: their order says nothing.
READ = r"""
for family in -4 -6; do ip $family rule list | sort -n; ip $family route show table all | sort; done
nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*/packets N/'
"""
# Takes the pods' own cluster away from them, and the web from the proxy's clients.
CUT_OFF = (("bypass: [10.42.0.0/16, ", "bypass: ["), ("connect_ports: [443, ", "connect_ports: ["))
HARMLESS = (("100.64.0.0/10]", "100.64.0.0/10, 198.18.0.0/15]"),)
PATIENCE = 6


class Node:
    """styx, with a configuration that we change and that asks for confirmations."""

    def __init__(self, lab):
        self.lab = lab
        self.original = lab.exec("styx", "cat", FILE).stdout

    def text(self, changes=(), confirm=PATIENCE):
        text = self.original.rstrip("\n") + f"\n  confirm: {confirm}s\n"
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        return text

    def write(self, text):
        self.lab.exec("styx", "bash", "-c", f"cat > {FILE}.new && mv {FILE}.new {FILE}", input=text)

    def write_and(self, text, command, check=False):
        """At once: the gateway follows the file by itself a second later."""
        return self.lab.exec("styx", "bash", "-c", f"cat > {FILE}.new && mv {FILE}.new {FILE} && {command} -c {FILE}", input=text,
                             check=check)

    def take(self, *changes, confirm=PATIENCE):
        """Writes and reloads. The file is followed by itself too: whoever is first, it is in force afterwards."""
        self.write(self.text(changes, confirm))
        def reloaded():
            result = self.lab.oceanid("styx", "reload", check=False)
            return result.stdout if result.returncode == 0 else None
        return self.lab.wait_for(reloaded)

    def state(self):
        return self.lab.exec("styx", "bash", "-c", READ).stdout

    def status(self):
        return self.lab.status("styx")

    def confirm(self):
        return self.lab.oceanid("styx", "confirm", check=False)

    def gone_back(self, rollbacks):
        return self.lab.wait_for(lambda: self.status()["rollbacks"] == rollbacks and self.status(), PATIENCE + 20)


@pytest.fixture
def node(lab, capture, busy):
    """styx, whose pod sends all the time, before both witnesses."""
    node = Node(lab)
    assert "on probation" not in node.take(), "how a change is made is no change"
    node.before = node.state()
    node.rollbacks = node.status()["rollbacks"]
    yield node
    node.write(node.original)
    if not lab.pids("styx", "oceanid-netd"):
        lab.run("gateway", "start", "styx")
    lab.wait_for(lambda: lab.oceanid("styx", "reload", check=False).returncode == 0)
    lab.oceanid("styx", "confirm", check=False)
    busy()
    assert capture.only_exits() > 0
    assert lab.leaks() == 0, lab.run("status").stdout


def test_without_a_confirmation_everything_goes_back(node, lab):
    ping = lab.popen("pod-styx-2", "ping", "-i", "0.05", "-c", "360", "-W", "5", "192.0.2.10")
    said = node.take(*CUT_OFF, confirm=10)
    assert re.search(r"on probation: it goes back in \d+ s unless `oceanid confirm` comes", said), said
    assert 0 < node.status()["confirm_within_seconds"] <= 10
    assert "on probation" in lab.oceanid("styx", "status").stdout
    assert node.state() != node.before
    assert lab.curl("pod-styx-1", "https://ip.example.test/", proxy=PROXY, check=False).returncode != 0
    status = node.gone_back(node.rollbacks + 1)
    lab.wait_for(lambda: node.state() == node.before)
    assert status.get("confirm_within_seconds") is None
    assert "was not confirmed in time" in status["configuration_error"]
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"  # the worker as well
    too_late = node.confirm()
    assert too_late.returncode == 1 and "was not confirmed in time" in too_late.stderr
    sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", ping.communicate(timeout=30)[0]).groups())
    assert sent > 200 and received >= sent - 1  # one may be lost in wireguard-go on a busy machine
    assert lab.leaks() == 0


def test_keys_that_cannot_be_read_keep_nothing_from_going_back(node, lab):
    key = "/var/lib/oceanid/private.key"
    node.take(*CUT_OFF)
    lab.exec("styx", "chmod", "0644", key)  # refused like this, wherever it is read
    try:
        node.gone_back(node.rollbacks + 1)
        for _ in range(20):
            assert node.state() == node.before
            time.sleep(0.2)
        refused = lab.oceanid("styx", "reload", check=False)
        assert refused.returncode == 1 and key in refused.stderr
    finally:
        lab.exec("styx", "chmod", "0600", key)
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"


def test_a_confirmed_change_stays(node, lab):
    assert "on probation" in node.take(*HARMLESS)
    kept = node.confirm()
    assert kept.returncode == 0 and "is kept" in kept.stdout
    changed = node.state()
    assert changed != node.before and "198.18.0.0/15" in changed
    again = node.confirm()
    assert again.returncode == 1 and "nothing waits" in again.stderr
    time.sleep(PATIENCE + 2)
    assert node.state() == changed
    assert node.status()["rollbacks"] == node.rollbacks
    assert lab.leaks() == 0


def test_a_second_change_starts_the_time_anew_and_goes_back_all_the_way(node, lab):
    node.take(*HARMLESS, confirm=20)
    left = lab.wait_for(lambda: (s := node.status()["confirm_within_seconds"]) < 18 and s)
    node.take(("100.64.0.0/10]", "100.64.0.0/10, 198.19.0.0/16]"), confirm=20)
    assert node.status()["confirm_within_seconds"] > left
    # Back by hand: nothing waits any more.
    assert "on probation" not in node.take()
    assert node.status().get("confirm_within_seconds") is None
    lab.wait_for(lambda: node.state() == node.before)
    node.take(*HARMLESS)
    node.take(*CUT_OFF)
    node.gone_back(node.rollbacks + 1)
    lab.wait_for(lambda: node.state() == node.before)
    assert lab.leaks() == 0


def test_killed_on_probation_the_next_start_comes_up_with_what_was_good(node, lab):
    node.take(*CUT_OFF, confirm=600)
    assert node.state() != node.before
    os.kill(lab.pids("styx", "oceanid-netd")[0], signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"), 5)
    lab.run("gateway", "start", "styx")
    lab.wait_for(lambda: node.state() == node.before, 20)
    status = node.status()
    assert "never confirmed" in status["configuration_error"] and status.get("confirm_within_seconds") is None
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"
    # Asked for, it is tried again, on probation again.
    assert "on probation" in lab.oceanid("styx", "reload").stdout
    node.take()
    assert lab.leaks() == 0


def test_a_start_with_a_changed_file_is_on_probation(node, lab):
    lab.run("gateway", "stop", "styx")
    node.write(node.text(CUT_OFF, confirm=12))
    lab.run("gateway", "start", "styx")
    lab.wait_for(lambda: lab.oceanid("styx", "status", check=False).returncode == 0)
    lab.wait_for(lambda: node.status()["confirm_within_seconds"] is not None, 20)
    node.gone_back(1)
    assert lab.wait_for(lambda: node.state() == node.before, 20)
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"
    assert lab.leaks() == 0


STATE = "/var/lib/oceanid"


@pytest.fixture
def full(node, lab):
    """Turns styx's state folder, a tmpfs of its own, into a disk without a free block, and back."""
    filler = f"{STATE}/filler"

    def fill():
        lab.exec("styx", "mount", "-o", "remount,size=1m", STATE)
        lab.exec("styx", "bash", "-c", f"dd if=/dev/zero of={filler} bs=4k 2>/dev/null; ! echo one more > {filler}2 && rm {filler}2")

    def make_room():
        lab.exec("styx", "rm", "-f", filler)
        lab.exec("styx", "mount", "-o", "remount,size=50%", STATE)
    try:
        yield fill, make_room
    finally:
        make_room()


def kept_files(lab):
    """What a start would come up with, by name; files that a failed attempt has left would show."""
    return {name: lab.exec("styx", "cat", f"{STATE}/{name}").stdout
            for name in lab.exec("styx", "ls", STATE).stdout.split() if "good.yaml" in name or "unconfirmed" in name}


def restart(lab):
    os.kill(lab.pids("styx", "oceanid-netd")[0], signal.SIGKILL)
    lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"), 5)
    lab.run("gateway", "start", "styx")
    lab.wait_for(lambda: lab.oceanid("styx", "status", check=False).returncode == 0)


def test_a_full_disk_loses_nothing_and_says_where_room_is_needed(node, lab, full):
    fill, make_room = full
    log = pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-styx.log")
    said_before = len(log.read_text(encoding="utf-8"))
    before = kept_files(lab)
    fill()
    assert "on probation" in node.take(*HARMLESS, confirm=120)
    changed = node.state()
    assert changed != node.before
    warning = next(line for line in log.read_text(encoding="utf-8")[said_before:].splitlines() if "No space left on device" in line)
    assert f"{STATE}/unconfirmed.yaml" in warning and f"make room below {STATE}" in warning, warning
    said = node.confirm()
    assert said.returncode == 0
    assert f"{STATE}/last_good.yaml: No space left on device" in said.stdout and f"make room below {STATE}" in said.stdout, said.stdout
    assert kept_files(lab) == before
    assert node.state() == changed and node.status().get("confirm_within_seconds") is None
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"
    # A start meanwhile cannot know: it asks again, and has what to go back to.
    restart(lab)
    lab.wait_for(lambda: node.status().get("confirm_within_seconds") is not None, 20)
    make_room()
    assert re.fullmatch(r"configuration \d+ is kept", node.confirm().stdout.strip())
    assert kept_files(lab) == {"last_good.yaml": node.text(HARMLESS, 120)}
    restart(lab)
    assert lab.wait_for(lambda: node.state() == changed, 20)
    assert node.status().get("confirm_within_seconds") is None and not node.status()["configuration_error"]
    assert lab.leaks() == 0


def test_a_disk_that_fills_up_on_probation_does_not_undo_the_confirmation(node, lab, full):
    fill, _ = full
    node.take(*HARMLESS, confirm=120)
    changed = node.state()
    fill()
    assert re.fullmatch(r"configuration \d+ is kept", node.confirm().stdout.strip())
    restart(lab)
    assert lab.wait_for(lambda: node.state() == changed, 20)
    assert node.status().get("confirm_within_seconds") is None and not node.status()["configuration_error"]
    assert lab.leaks() == 0


def test_a_full_disk_does_not_keep_a_change_from_going_back(node, lab, full):
    fill, _ = full
    fill()
    node.take(*CUT_OFF)
    node.gone_back(node.rollbacks + 1)
    lab.wait_for(lambda: node.state() == node.before)
    assert lab.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"
    assert lab.leaks() == 0


def test_what_would_cut_off_the_operator_is_refused(node, lab):
    """The peer's tunnel address is where the operator sits: answers to SSH would go into the tunnel."""
    # tethys is the operator: 10.99.0.1 becomes its public address.
    environment = "SSH_CONNECTION='203.0.113.10 50122 198.51.100.30 22'"
    result = node.write_and(node.text((("address: [10.99.0.1]", "address: [203.0.113.10]"),)),
                            f"{environment} {lab.program} reload")
    assert result.returncode == 1
    assert "from where you are connected to 198.51.100.30 now" in result.stderr
    assert node.state() == node.before
    # What contradicts the host is refused whoever asks.
    result = node.write_and(node.text((("sources: [10.42.1.0/24]", "sources: [10.42.1.0/24, 198.51.100.0/24]"),)),
                            f"{lab.program} reload")
    assert result.returncode == 1 and "this node's address 198.51.100.30" in result.stderr
    assert node.state() == node.before


def test_guarded_ports_never_include_the_operators(node, lab):
    """Listeners on SSH's and the API server's ports that nobody may use: the kernel lets connections in all the same."""
    lab.exec("styx", "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=0")  # netd has given up that power
    node.take(('- { bind: "[::]:3128" }', '- { bind: "[::]:3128" }\n    - { bind: "[::]:22" }\n    - { bind: "[::]:6443" }\n'
                                          '    - { bind: "[::]:3199" }\n  clients: [127.0.0.0/8, 10.42.1.0/24]'))
    node.confirm()

    def reached(port):
        return lab.exec("tethys", "timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/198.51.100.30/{port}",
                        check=False).returncode == 0
    assert reached(22) and reached(6443)
    assert not reached(3199)  # an ordinary port is guarded
    assert json.loads(lab.oceanid("styx", "status", "--json").stdout)["routing"]["in_force"]
