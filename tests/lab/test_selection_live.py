"""routing.selection in the running gateway: a reload sends what it names direct, and nothing else."""
import pytest

CONFIG = "/etc/oceanid/oceanid.yaml"
DIRECT = "s/^routing:/routing:\\n  selection: [{ ports: [443], protocol: tcp, exit: none }]/"


@pytest.fixture
def direct_web(lab):
    """styx with the web selected out; the former file comes back at the end."""
    before = lab.exec("styx", "cat", CONFIG).stdout
    lab.exec("styx", "sed", "-i", DIRECT, CONFIG)
    try:
        assert "selection" in lab.exec("styx", "cat", CONFIG).stdout
        lab.oceanid("styx", "reload")
        yield lab
    finally:
        lab.exec("styx", "tee", CONFIG, input=before)
        lab.oceanid("styx", "reload")
        lab.reset_leaks()  # what went direct on purpose counts as a leak there


def test_what_is_selected_out_goes_direct_and_nothing_else(direct_web):
    lab = direct_web
    addresses = lab.exec("styx", "ip", "-4", "-o", "address", "show", "dev", "eth0").stdout
    seen = lab.wait_for(lambda: lab.seen_as("pod-styx-1", check=False, patience=3), 20)
    assert f"{seen}/" in addresses, f"seen as {seen}, not with the node's own address:\n{addresses}"
    echo = "exec 3<>/dev/tcp/edge.example.test/7844; echo hello >&3; timeout 5 head -n2 <&3 | tr '\\n' ' '"
    assert lab.exec("pod-styx-1", "bash", "-c", echo).stdout.strip() == "203.0.113.10 hello"
    pod = lab.env()["LAB_POD_STYX_1_ADDRESS"]
    explained = lab.exec("styx", lab.program, "explain", "ip.example.test:443", "--from", pod, "-c", CONFIG).stdout
    assert "not through an exit (routing.selection[0])" in explained, explained
    assert "goto" in lab.exec("styx", "ip", "rule", "show", "pref", "5161").stdout
    table = lab.status("styx")["conntrack"]
    assert 0 < table["entries"] < table["limit"]


def test_a_reload_takes_it_back(lab):
    assert lab.seen_as("pod-styx-1") == "203.0.113.10"
    assert "goto" not in lab.exec("styx", "ip", "rule", "show", "pref", "5161").stdout
    assert lab.leaks() == 0
