"""The tunnels on the kernel's own WireGuard, which most nodes have: in use where it is there, honest about what fits.

Where the machine's kernel lacks it, the virtual machine of tests/vm runs these.
"""
import time

import pytest

from conftest import EXIT_ADDRESS

pytestmark = pytest.mark.kernel_wireguard
NODE, EXIT = "styx", "tethys"
CONFIG = "/etc/oceanid/oceanid.yaml"
RAISE = 8


def tunnel(lab):
    return next(one for one in lab.status(NODE)["tunnels"] if one["peer"] == EXIT)


def outer_packets(lab, seconds, what=""):
    """How many of the node's encrypted packets fit the filter within that time."""
    watch = lab.popen(NODE, "timeout", str(seconds), "tcpdump", "-lnni", "eth0", "-Q", "out", f"udp and port 51820 {what}")
    lines, _ = watch.communicate()
    return sum(" UDP" in line for line in lines.splitlines())


@pytest.fixture
def by_ipv4(lab):
    """The outer path is IPv4, which has a DF; a narrow path's MTU is looked for again after a few seconds."""
    before = {node: lab.exec(node, "cat", CONFIG).stdout for node in (NODE, EXIT)}
    address = lab.env()[f"LAB_{EXIT.upper()}_ADDRESS"]
    try:
        for node, text in before.items():
            text = text.replace("tunnel:\n", f"tunnel:\n  mtu_raise: {RAISE}s\n")
            lab.exec(node, "tee", CONFIG, input=text.replace(f"{EXIT}.example.test:51820", f"{address}:51820"))
            lab.oceanid(node, "reload")
        lab.wait_for(lambda: tunnel(lab)["mtu"] == 1440, 60 + 2 * RAISE, 0.5)
        yield lab
    finally:
        lab.fault("path-mtu", "off", NODE)
        for node, text in before.items():
            lab.exec(node, "tee", CONFIG, input=text)
            lab.oceanid(node, "reload")


def test_pods_leave_by_the_kernels_tunnels(lab):
    for node in (NODE, EXIT):
        assert {one["backend"] for one in lab.status(node)["tunnels"]} == {"kernel"}
        assert not lab.pids(node, "wireguard-go")
        assert "wireguard" in lab.exec(node, "ip", "-d", "link", "show", "type", "wireguard").stdout
    assert lab.seen_as(f"pod-{NODE}-1") == EXIT_ADDRESS[EXIT]
    assert lab.leaks() == 0


def test_every_encrypted_packet_forbids_fragments(by_ipv4):
    """Echoes go every 200 ms; the kernel's WireGuard would send all of them without DF."""
    lab = by_ipv4
    assert outer_packets(lab, 5, "and ip[6] & 0x40 != 0") > 10
    assert outer_packets(lab, 5, "and ip[6] & 0x40 = 0") == 0


def test_a_path_that_becomes_smaller_without_a_word_is_followed(by_ipv4):
    lab = by_ipv4
    lab.fault("path-mtu", "on", NODE, "1340", "silent")
    lab.wait_for(lambda: tunnel(lab)["mtu"] == 1280, 60, 0.5)
    assert lab.seen_as(f"pod-{NODE}-1", patience=20) == EXIT_ADDRESS[EXIT]
    lab.fault("path-mtu", "off", NODE)
    lab.wait_for(lambda: tunnel(lab)["mtu"] == 1440, 60 + 2 * RAISE, 0.5)


def test_a_killed_exit_is_left(lab):
    begun = time.monotonic()
    lab.fault("kill", "on", EXIT, "all")
    try:
        lab.wait_for(lambda: lab.seen_as(f"pod-{NODE}-1", check=False, patience=3) == EXIT_ADDRESS["meliae"], 60)
    finally:
        lab.fault("kill", "off", EXIT)
    print(f"by the other exit after {time.monotonic() - begun:.1f} s, emulated")
    lab.wait_for(lambda: lab.seen_as(f"pod-{NODE}-1", check=False, patience=3) == EXIT_ADDRESS[EXIT], 120)
    assert lab.leaks() == 0
