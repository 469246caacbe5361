"""Strict, loose or no reverse path filter on the nodes: routed egress, the pod network and inbound connections work,
and nothing leaks. Inbound: a Service of type NodePort in both of its policies, called from the internet."""
import contextlib
import sys

import pytest

from conftest import EXIT_ADDRESS, NODES, PROXY

# Tells callers who they are, then echoes.
SERVER = """
import socket, threading
def serve(stream, who):
    stream.sendall(who[0].encode() + b"\\n")
    while data := stream.recv(4096):
        stream.sendall(data)
server = socket.create_server(("", 8080))
print("up", flush=True)
while True:
    threading.Thread(target=serve, args=server.accept(), daemon=True).start()
"""
CLIENT = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 30080), 5) as stream:
    lines = stream.makefile("r")
    print(lines.readline().strip())
    for _ in range(20):
        stream.sendall(b"hello\\n")
        assert lines.readline() == "hello\\n"
        time.sleep(0.02)
"""
UPLINK = {"styx": "198.51.100.30", "tethys": "203.0.113.10"}
CALLER = {"styx": "192.0.2.228", "tethys": "192.0.2.224"}  # internet's own address on the node's line: no service
SET = "for file in /proc/sys/net/ipv4/conf/*/rp_filter; do case $file in */oc-*) ;; *) echo {} > $file ;; esac; done"


@pytest.fixture(scope="module", params=(0, 1, 2))
def rp_filter(request, witness):
    """Of every link but our own; the kernel takes the larger of a link's and `all`."""
    kept = {}
    for node in NODES:
        kept[node] = witness.lab.exec(node, "cat", "/proc/sys/net/ipv4/conf/all/rp_filter").stdout.strip()
        witness.lab.exec(node, "sh", "-c", SET.format(request.param))
    yield request.param
    for node in NODES:
        witness.lab.exec(node, "sh", "-c", SET.format(kept[node]))


@contextlib.contextmanager
def serving(lab, pod):
    server = lab.popen(pod, sys.executable, "-c", SERVER)
    try:
        assert server.stdout.readline() == "up\n"
        yield
    finally:
        server.kill()
        server.communicate()


def test_every_pod_leaves_by_its_exit(witness, rp_filter):
    lab = witness.lab
    with witness.case(seconds=0.5):
        for node in NODES:
            assert lab.seen_as(f"pod-{node}-1") == EXIT_ADDRESS[node]
            assert lab.seen_as(f"pod-{node}-2", proxy=PROXY) == EXIT_ADDRESS[node]


def test_pods_of_two_nodes_reach_each_other(witness, rp_filter):
    lab, env = witness.lab, witness.lab.env()
    lab.exec("pod-styx-1", "ping", "-c", "1", "-W", "3", env["LAB_POD_TETHYS_1_ADDRESS"])
    lab.exec("pod-tethys-1", "ping", "-c", "1", "-W", "3", env["LAB_POD_CALYPSO_1_ADDRESS"])


NODE_PORTS = (
    ("styx", "local", "pod-styx-1", CALLER["styx"]), ("tethys", "local", "pod-tethys-2", CALLER["tethys"]),
    # Masqueraded by the node: with its bridge's address, or with Flannel's to another node's pod.
    ("styx", "cluster", "pod-styx-2", "10.42.1.1"), ("styx", "cluster", "pod-tethys-1", "10.42.1.0"),
    ("tethys", "cluster", "pod-styx-1", "10.42.0.0"))


def test_a_node_port_is_answered_by_the_uplink(witness, rp_filter):
    lab = witness.lab
    with witness.case(seconds=0.2) as undo:
        for pod in {pod for _, _, pod, _ in NODE_PORTS}:
            undo.enter_context(serving(lab, pod))
        for node, policy, pod, seen in NODE_PORTS:
            lab.fault("node-port", node, "on", policy, pod)
            try:
                said = lab.exec("internet", sys.executable, "-c", CLIENT, UPLINK[node])
                assert said.stdout.strip() == seen, (node, policy, pod)
            finally:
                lab.fault("node-port", node, "off")


def test_without_the_gateway_the_caller_is_the_same(witness):
    """The expectations above are not ours but Kubernetes': they hold on a node that never saw the gateway."""
    lab = witness.lab
    lab.run("gateway", "stop", "styx")
    lab.oceanid("styx", "down")
    try:
        with serving(lab, "pod-styx-1"):
            for policy, seen in (("local", CALLER["styx"]), ("cluster", "10.42.1.1")):
                lab.fault("node-port", "styx", "on", policy, "pod-styx-1")
                assert lab.exec("internet", sys.executable, "-c", CLIENT, UPLINK["styx"]).stdout.strip() == seen
    finally:
        lab.fault("node-port", "styx", "off")
        lab.run("gateway", "start", "styx")
    witness.carried()
