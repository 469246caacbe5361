"""Whatever breaks, nothing reaches the internet from another source than an exit's address."""
import time

import pytest

from conftest import NODES, PROXY


def try_everything(lab, pods=("pod-styx-1", "pod-tethys-1", "pod-calypso-2", "pod-meliae-2"), patience=2):
    """New connections by every way, from every kind of node; what they achieve does not matter here."""
    running = []
    for pod in pods:
        for words in (["curl", "-sS", "-m", str(patience), "https://ip.example.test/"],
                      ["curl", "-sS", "-m", str(patience), "-x", PROXY, "https://ip.example.test/"],
                      ["bash", "-c", f"exec 3<>/dev/udp/edge.example.test/7844; echo x >&3; timeout {patience} head -n1 <&3"],
                      ["bash", "-c", f"exec 3<>/dev/udp/192.0.2.12/7844; echo x >&3; timeout {patience} head -n1 <&3"],
                      ["ping", "-c", "2", "-i", "0.3", "-W", "1", "192.0.2.10"]):
            running.append(lab.popen(pod, *words))
    return [process.communicate(timeout=30)[0] for process in running]


@pytest.fixture
def no_leak(lab):
    yield lab
    assert lab.leaks() == 0, lab.run("status").stdout


def test_the_counter_itself_counts(lab):
    """Without this, a counter that never moves would pass every other test."""
    lab.exec("styx", "curl", "-sS", "-m", "3", "https://192.0.2.11/", check=False)
    assert lab.leaks() > 0


@pytest.mark.parametrize("node", ("styx", "calypso", "tethys"))
def test_tunnel_cut(no_leak, node):
    no_leak.fault("cut", node, "on")
    try:
        try_everything(no_leak)
    finally:
        no_leak.fault("cut", node, "off")


@pytest.mark.parametrize("what", ("netd", "worker", "all"))
def test_sigkill(no_leak, what):
    for node in NODES:
        no_leak.fault("kill", node, "on", what)
    try:
        try_everything(no_leak)
    finally:
        for node in NODES:
            no_leak.fault("kill", node, "off")
    no_leak.healthy()


def test_frozen(no_leak):
    no_leak.fault("freeze", "styx", "on")
    try:
        try_everything(no_leak)
    finally:
        no_leak.fault("freeze", "styx", "off")


@pytest.mark.parametrize("node, device", (("styx", "oc-tethys"), ("styx", "oc-meliae"), ("tethys", "oc-hub"),
                                          ("tethys", "oc-meliae"), ("calypso", "oc-tethys")))
def test_link_deleted_comes_back(no_leak, node, device):
    no_leak.exec(node, "ip", "link", "del", device)
    try_everything(no_leak)
    no_leak.wait_for(lambda: no_leak.exec(node, "ip", "link", "show", device, check=False).returncode == 0)
    no_leak.healthy()


@pytest.mark.parametrize("node", NODES)
def test_nft_flushed(no_leak, node):
    no_leak.fault("flush-nft", node, "on")
    try:
        try_everything(no_leak)
    finally:
        no_leak.fault("flush-nft", node, "off")


@pytest.mark.parametrize("node", NODES)
def test_all_our_rules_deleted_while_the_proxy_works(no_leak, node):
    download = no_leak.popen(f"pod-{node}-1", "curl", "-sS", "-m", "20", "--limit-rate", "2M", "-o", "/dev/null", "-x", PROXY,
                             "https://www.example.test/bytes/8000000")
    time.sleep(0.5)
    no_leak.fault("purge-routes", node, "on")
    try:
        try_everything(no_leak)
    finally:
        no_leak.fault("purge-routes", node, "off")
        download.communicate(timeout=30)


def test_traffic_while_everything_restarts(no_leak):
    """Cold start under traffic: pods ask all the time while the gateways come up one after the other."""
    for node in NODES:
        no_leak.run("gateway", "restart", node)
        try_everything(no_leak, patience=1)
    no_leak.healthy()


def test_a_refused_reload_changes_nothing(no_leak):
    for text in ("proxy: { listners: [] }", "not: [closed", ""):
        no_leak.exec("styx", "bash", "-c", "cp /etc/oceanid/oceanid.yaml /etc/oceanid/good; cat > /etc/oceanid/oceanid.yaml",
                     input=text + "\nunknown: 1\n")
        try:
            refused = no_leak.oceanid("styx", "reload", "--socket", "/run/oceanid/control.sock", check=False)
            assert refused.returncode != 0
            assert "what runs goes on" in refused.stderr
        finally:
            no_leak.exec("styx", "cp", "/etc/oceanid/good", "/etc/oceanid/oceanid.yaml")
        assert no_leak.seen_as("pod-styx-1", proxy=PROXY) == "203.0.113.10"
    no_leak.oceanid("styx", "reload")
    assert no_leak.status("styx")["configuration_error"] == ""
