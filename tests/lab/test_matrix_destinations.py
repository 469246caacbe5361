"""Destinations that are not everybody's: an excluded range, and errors that must find their way back to a pod."""
import contextlib
import sys

import pytest

from conftest import NODES

EXCLUDED = "192.0.2.10"  # www
# To a port where nobody listens; the error comes with the next call on the socket.
REFUSED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect(("192.0.2.10", 9))
s.send(b"x")
try:
    print(s.recv(10))
except ConnectionRefusedError:
    print("refused")
"""


@contextlib.contextmanager
def configured(lab, node, before, after):
    """The node's configuration with one text in place of another."""
    good = lab.exec(node, "cat", "/etc/oceanid/oceanid.yaml").stdout
    assert before in good
    write = lambda text: lab.exec(node, "sh", "-c", "cat > /etc/oceanid/oceanid.yaml", input=text)
    write(good.replace(before, after))
    try:
        lab.oceanid(node, "reload")
        yield
    finally:
        write(good)
        lab.oceanid(node, "reload")


def test_an_excluded_range_leaves_by_the_uplink_and_nothing_else_does(witness):
    lab = witness.lab
    witness.reset()
    with configured(lab, "styx", "bypass: [", f"bypass: [{EXCLUDED}/32, "):
        for pod in ("pod-styx-1", "pod-styx-2"):
            assert lab.curl(pod, f"https://{EXCLUDED}/ip").stdout.strip() == "198.51.100.30"
        witness.carried()  # everything else by an exit, though pings go to the excluded address
        wrong, _ = witness.wrong()
        assert wrong and all(key.startswith(f"styx 198.51.100.30 > {EXCLUDED} ") for key in wrong), wrong
    with witness.case():
        pass
    assert lab.curl("pod-styx-2", f"https://{EXCLUDED}/ip").stdout.strip() in ("203.0.113.10", "203.0.113.20")


def test_a_closed_port_is_told_to_the_pod(witness):
    with witness.case(seconds=0):
        for node in NODES:
            assert witness.lab.exec(f"pod-{node}-2", sys.executable, "-c", REFUSED).stdout == "refused\n"


@pytest.fixture
def narrow(witness):
    """The way to the database, behind the exits, is narrower than any link before it."""
    lab = witness.lab
    lab.exec("internet", "ip", "link", "set", "database", "mtu", "1000")
    yield lab
    lab.exec("internet", "ip", "link", "set", "database", "mtu", "1500")
    for who in ("tethys", "meliae", *(f"pod-{node}-2" for node in NODES)):
        lab.exec(who, "ip", "route", "flush", "cache")


def test_fragmentation_needed_is_told_to_the_pod(witness, narrow):
    with witness.case(seconds=0):
        for node in NODES:
            said = narrow.exec(f"pod-{node}-2", "ping", "-c", "3", "-i", "0.3", "-W", "2", "-M", "do", "-s", "1100", "192.0.2.130",
                               check=False).stdout
            assert "mtu = 1000" in said or "mtu=1000" in said, said
            # Large segments towards the database, which only get through when the pod has learned.
            query = f"select length('{'x' * 60000}')"
            assert narrow.exec(f"pod-{node}-2", "psql", "hostaddr=192.0.2.130 dbname=warehouse user=warehouse sslmode=require "
                               "connect_timeout=10", "-At", "-f", "-", input=query).stdout.strip() == "60000"
