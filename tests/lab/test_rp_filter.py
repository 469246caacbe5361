"""Strict, loose or no reverse path filter on the nodes: routed egress and inbound connections work, nothing leaks."""
import pytest

from conftest import EXIT_ADDRESS, NODES, Lab, PROXY


@pytest.fixture(scope="module", params=(0, 1, 2))
def lab_with(request, program):
    lab = Lab("ocrp", program)
    try:
        lab.up("--rp-filter", str(request.param))
        lab.healthy()  # a node that starts before its preferred exit answers takes the other one first
        yield lab
    finally:
        lab.down()


def test_every_pod_leaves_by_its_exit(lab_with):
    for node in NODES:
        assert lab_with.seen_as(f"pod-{node}-1") == EXIT_ADDRESS[node]
        assert lab_with.seen_as(f"pod-{node}-2", proxy=PROXY) == EXIT_ADDRESS[node]
    assert lab_with.leaks() == 0


def test_pods_of_two_nodes_reach_each_other(lab_with):
    env = lab_with.env()
    lab_with.exec("pod-styx-1", "ping", "-c", "1", "-W", "3", env["LAB_POD_TETHYS_1_ADDRESS"])
    lab_with.exec("pod-tethys-1", "ping", "-c", "1", "-W", "3", env["LAB_POD_CALYPSO_1_ADDRESS"])
