"""The lab itself, without the gateway: what the other tests measure with must be right, the leak counter above all."""

import os
import subprocess
import sys

import pytest

from conftest import NODES, Lab

UNDERLAY = {"tethys": "203.0.113.10", "meliae": "203.0.113.20", "styx": "198.51.100.30", "calypso": "198.51.100.40"}
PODS = {"tethys": "10.42.0.12", "meliae": "10.42.2.12", "styx": "10.42.1.12", "calypso": "10.42.3.12"}
PSQL = "hostaddr=192.0.2.130 host=db.example.test user=warehouse dbname=warehouse connect_timeout=5 sslmode="
UDP_ECHO = "exec 3<>/dev/udp/192.0.2.12/7844; echo hello >&3; timeout 1 head -n1 <&3"


@pytest.fixture(scope="module")
def plain():
    lab = Lab("octest0", None)
    lab.run("down")
    try:
        lab.run("up", "--no-gateway", timeout=120)
        yield lab
    finally:
        lab.down()


def ping(lab, who, address, *options):
    return lab.exec(who, "ping", "-c", "1", "-W", "1", *options, address, check=False).returncode == 0


@pytest.mark.parametrize("node", NODES)
def test_nodes_reach_the_internet_as_themselves(plain, node):
    seen = plain.exec(node, "curl", "-4sS", "-m", "5", "https://ip.example.test/").stdout.strip()
    assert seen == UNDERLAY[node]


@pytest.mark.parametrize("node", NODES)
def test_mesh_and_pod_network_join_all_nodes(plain, node):
    for index in range(1, 5):
        assert ping(plain, node, f"100.64.0.{index}", "-M", "do", "-s", "1252")
    for address in PODS.values():
        assert ping(plain, f"pod-{node}-1", address, "-M", "do", "-s", "1202")
    assert not ping(plain, f"pod-{node}-1", PODS["styx" if node != "styx" else "tethys"], "-M", "do", "-s", "1203")


def test_flannel_keeps_pod_addresses_between_pods(plain):
    """Only towards the internet does a pod without gateway take its node's address."""
    server = plain.popen("pod-meliae-1", "python3", "-c",
                         "import socket; s = socket.create_server(('', 7000)); print('up', flush=True);"
                         "print(s.accept()[1][0], flush=True)")
    try:
        assert server.stdout.readline().strip() == "up"
        plain.exec("pod-calypso-1", "bash", "-c", "exec 3<>/dev/tcp/10.42.2.11/7000")
        assert server.stdout.readline().strip() == "10.42.3.11"
    finally:
        server.kill()
        server.communicate()
    assert plain.seen_as("pod-calypso-1") == UNDERLAY["calypso"]


def test_database_lets_only_the_exits_in(plain):
    asked = ["-Atc", "select inet_client_addr()"]
    for node in ("tethys", "meliae"):
        assert plain.exec(node, "psql", PSQL + "verify-full", *asked).stdout.strip() == UNDERLAY[node]
        refused = plain.exec(node, "psql", PSQL + "disable", *asked, check=False)
        assert refused.returncode != 0 and "no encryption" in refused.stderr
    refused = plain.exec("styx", "psql", PSQL + "require", *asked, check=False)
    assert refused.returncode != 0 and "no pg_hba.conf entry" in refused.stderr


@pytest.mark.parametrize("who, ask", [
    ("pod-styx-1", ["curl", "-sS", "-m", "5", "https://192.0.2.10/"]),
    ("styx", ["curl", "-6sS", "-m", "5", "https://www6.example.test/"]),
    ("pod-calypso-2", ["bash", "-c", UDP_ECHO]),
    ("calypso", ["ping", "-c", "1", "192.0.2.130"]),
])
def test_leak_counter_sees_everybody_but_the_exits(plain, who, ask):
    plain.reset_leaks()
    plain.exec("tethys", "curl", "-sS", "-m", "5", "https://www.example.test/")
    plain.exec("meliae", "curl", "-4sS", "-m", "5", "https://www.example.test/")
    assert plain.leaks() == 0
    plain.exec(who, *ask)
    assert plain.leaks() > 0


def test_leak_counter_sees_an_exit_address_from_the_wrong_line(plain):
    plain.exec("styx", "ip", "addr", "add", "203.0.113.10/32", "dev", "lo")
    try:
        plain.reset_leaks()
        plain.exec("styx", "ping", "-c", "1", "-W", "1", "-I", "203.0.113.10", "192.0.2.10", check=False)
        assert plain.leaks() > 0
    finally:
        plain.exec("styx", "ip", "addr", "del", "203.0.113.10/32", "dev", "lo")


@pytest.mark.parametrize("fault", [("cut", "styx"), ("one-way", "styx"), ("loss", "styx", "100")])
def test_faults_that_stop_everything(plain, fault):
    plain.reset_leaks()
    plain.fault(fault[0], "on", *fault[1:])
    try:
        assert not ping(plain, "styx", "192.0.2.10")
        assert not ping(plain, "styx", "100.64.0.1")
        assert ping(plain, "calypso", "192.0.2.10")
        assert plain.leaks() > 0, "what a fault drops is a leak all the same"
    finally:
        plain.fault(fault[0], "off", fault[1])
    assert ping(plain, "styx", "192.0.2.10")


def test_drop_udp_spares_tcp_and_the_mesh(plain):
    plain.fault("drop-udp", "on", "calypso")
    try:
        assert plain.exec("calypso", "bash", "-c", UDP_ECHO, check=False).stdout == ""
        assert ping(plain, "calypso", "100.64.0.1")
        assert plain.exec("calypso", "curl", "-sS", "-m", "5", "https://192.0.2.11/").stdout.strip() == UNDERLAY["calypso"]
    finally:
        plain.fault("drop-udp", "off", "calypso")
    assert "hello" in plain.exec("calypso", "bash", "-c", UDP_ECHO).stdout


@pytest.mark.parametrize("node", ["styx", "calypso"])
@pytest.mark.parametrize("silent", [False, True])
def test_path_mtu(plain, node, silent):
    def said(size):
        done = plain.exec(node, "ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", str(size), "192.0.2.10", check=False)
        return done.returncode == 0, done.stdout + done.stderr
    plain.fault("path-mtu", "on", node, "1400", *(["silent"] if silent else []))
    try:
        assert said(1372)[0]
        passed, text = said(1373)
        assert not passed
        assert ("1400" in text) != silent
    finally:
        plain.fault("path-mtu", "off", node)
    assert said(1472)[0]


def test_exit_faults(plain):
    plain.fault("uplink-down", "on", "meliae")
    try:
        assert "NO-CARRIER" in plain.exec("meliae", "ip", "link", "show", "eth0").stdout
    finally:
        plain.fault("uplink-down", "off", "meliae")
    plain.wait_for(lambda: ping(plain, "meliae", "192.0.2.10"))
    assert ping(plain, "meliae", "2001:db8:2::10")
    plain.fault("wrong-nat", "on", "tethys")
    try:
        seen = plain.exec("tethys", "curl", "-4sS", "-m", "5", "https://ip.example.test/").stdout.strip()
        assert seen == "203.0.113.11"
    finally:
        plain.fault("wrong-nat", "off", "tethys")
    assert plain.seen_as("pod-tethys-1") == UNDERLAY["tethys"]


def test_down_is_complete_and_leaves_other_labs_alone(plain):
    other = Lab("octest1", None)
    other.run("up", "--no-gateway", timeout=120)
    namespaces = lambda: {line.split()[0] for line in subprocess.run(
        ["ip", "netns", "list"], text=True, capture_output=True, check=True).stdout.splitlines()}
    assert "octest1-styx" in namespaces()
    other.down()
    assert not [name for name in namespaces() if name.startswith("octest1-")]
    assert not os.path.exists("/run/oceanid-lab/octest1")
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert "octest1" not in mounts.read()
    assert "nothing to remove" in other.run("down").stderr
    assert plain.seen_as("pod-styx-1") == UNDERLAY["styx"]


# In a process of its own: labkit is not on the tests' path, and what it looks for must not be pytest.
STRANGER = """
import os, subprocess, sys
from labkit.system import Namespaces, end_all, processes_in

def start():
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process

ours = start()
with Namespaces([f"/proc/{ours.pid}/ns/mnt", "/proc/self/ns/net"]) as namespaces:
    end_all(lambda: processes_in(namespaces.numbers))
    ours.wait()
    stranger = start()
    alive = stranger.poll() is None and stranger.pid not in processes_in(namespaces.numbers)
stranger.kill()
print("spared" if alive else "taken for ours")
"""


def test_who_gets_the_number_of_an_ended_namespace_is_not_ended_with_it():
    """`ip netns exec` makes a mount namespace for every command, under the lowest free number."""
    deploy = os.path.join(os.path.dirname(__file__), "..", "..", "deploy")
    assert subprocess.run([sys.executable, "-c", STRANGER], text=True, capture_output=True, check=True, timeout=30,
                          env={**os.environ, "PYTHONPATH": deploy}).stdout == "spared\n"
