"""What an exit refuses, and what it must not do."""
import pytest

EXITS = ("tethys", "meliae")


def exit_counter(lab, node, interface, expression):
    """Installs a counter for packets that leave the node's interface; outside of oceanid's own tables."""
    lab.exec(node, "nft", "-f", "-", input=f"""
        table inet probe {{
            counter seen {{ }}
            chain out {{ type filter hook postrouting priority 300; oifname "{interface}" {expression} counter name seen; }}
        }}
    """)


def counted(lab, node):
    import json
    listing = json.loads(lab.exec(node, "nft", "-j", "list", "counters", "table", "inet", "probe").stdout)
    return next(item["counter"]["packets"] for item in listing["nftables"] if "counter" in item)


@pytest.fixture
def probe(lab):
    nodes = []

    def install(node, interface, expression):
        exit_counter(lab, node, interface, expression)
        nodes.append(node)
    yield install
    for node in nodes:
        lab.exec(node, "nft", "delete", "table", "inet", "probe")


def test_the_metadata_service_of_an_exit_is_out_of_reach(lab, probe):
    for node in EXITS:
        probe(node, "eth0", "ip daddr 169.254.169.254")
    for pod in ("pod-styx-1", "pod-calypso-1", "pod-tethys-1", "pod-meliae-1"):
        result = lab.curl(pod, "http://169.254.169.254/", check=False, patience=3)
        assert result.returncode != 0
    for node in EXITS:
        assert counted(lab, node) == 0


def test_the_exits_own_network_is_out_of_reach(lab, probe):
    """The next hop and neighbours on the uplink's link are not the internet."""
    probe("tethys", "eth0", "ip saddr 10.42.0.0/16")
    assert lab.exec("pod-styx-1", "ping", "-c", "1", "-W", "2", "203.0.113.1", check=False).returncode != 0
    assert counted(lab, "tethys") == 0


def test_a_foreign_source_through_a_tunnel_is_refused(lab, probe):
    """A compromised worker node sends with an address that is not its own; the exit must not forward it.

    Not one of the pod range: the node's own Flannel would give that one the tunnel's address."""
    probe("tethys", "eth0", "udp dport 7844")
    lab.exec("styx", "ip", "addr", "add", "172.20.7.7/32", "dev", "lo")
    try:
        # Straight into the tunnel, past the node's own routing.
        lab.exec("styx", "/usr/bin/python3", "-c", """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"oc-tethys")
s.bind(("172.20.7.7", 0))
for _ in range(3):
    try:
        s.sendto(b"x", ("192.0.2.12", 7844))
    except OSError as error:
        print(error)
""")
    finally:
        lab.exec("styx", "ip", "addr", "del", "172.20.7.7/32", "dev", "lo")
    assert counted(lab, "tethys") == 0
    assert lab.leaks() == 0


def test_strangers_on_the_uplink_do_not_reach_the_proxy(lab):
    result = lab.exec("internet", "curl", "-sS", "-m", "3", "-x", "http://203.0.113.10:3128", "https://ip.example.test/",
                      check=False)
    assert result.returncode != 0
    assert lab.leaks() == 0


def test_two_exits_that_stand_by_for_each_other_do_not_loop(lab, probe):
    """Both prefer the other one: each pod's packet crosses exactly one tunnel and leaves."""
    swapped = {"tethys": ("meliae", "203.0.113.20"), "meliae": ("tethys", "203.0.113.10")}
    for node, (other, address) in swapped.items():
        lab.exec(node, "bash", "-c", f"""
            cp /etc/oceanid/oceanid.yaml /etc/oceanid/good
            printf '%s\\n' "$(sed 's/^routing:$/routing:\\n  exit: {other}/' /etc/oceanid/good)" > /etc/oceanid/oceanid.yaml""")
    try:
        for node in swapped:
            lab.oceanid(node, "reload")
        for node, (other, address) in swapped.items():
            lab.wait_for(lambda: lab.seen_as(f"pod-{node}-1", check=False, patience=2) == address)
            probe(node, f"oc-{other}", "icmp type echo-request")
        for node, (other, _) in swapped.items():
            lab.exec(f"pod-{node}-1", "ping", "-c", "3", "-i", "0.2", "-W", "2", "192.0.2.10")
        for node in swapped:
            assert counted(lab, node) == 3  # its own pod's three, and none that came back round
    finally:
        for node in swapped:
            lab.exec(node, "cp", "/etc/oceanid/good", "/etc/oceanid/oceanid.yaml")
            lab.oceanid(node, "reload")
    assert lab.leaks() == 0
