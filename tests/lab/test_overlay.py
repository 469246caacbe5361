"""The overlay: pods of one node reach pods of another through the tunnels, with nobody else's routes, keep their
addresses, and never show up in clear on an uplink. In a lab of its own where tunnels, exits and pods have both families;
the CNI's routes to other nodes' pods are taken out of main for all but one of the tests."""
import ipaddress
import re

import pytest

from conftest import NODES, Lab

CONFIG = "/etc/oceanid/oceanid.yaml"
INDEX = {"tethys": 0, "styx": 1, "meliae": 2, "calypso": 3}
TUNNEL = {"tethys": 1, "meliae": 2, "styx": 3, "calypso": 4}
RELAY = "tethys"
PORT = 9009

# Tells everybody the address that it is seen with, over TCP and both families.
SERVER = f"""
import socket
door = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    caller, address = door.accept()
    caller.sendall(address[0].removeprefix("::ffff:").encode())
    caller.close()
"""
CLIENT = f"""
import socket, sys
with socket.create_connection((sys.argv[1], {PORT}), float(sys.argv[2])) as server:
    print(server.recv(100).decode())
"""


# Answers every datagram, and says so.
ECHO = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5001))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(100)
    print(data.decode(), flush=True)
    s.sendto(data, sender)
"""
# A datagram from port 5000, until it is answered.
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 5000)); s.settimeout(0.5)
for _ in range(6):
    s.sendto(sys.argv[3].encode(), (sys.argv[2], 5001))
    try: print(s.recv(100).decode(), flush=True); break
    except TimeoutError: pass
"""
# The same datagram with somebody else's address.
FORGE = """
import socket, struct, sys
source, target, data = sys.argv[1], sys.argv[2], sys.argv[3].encode()
six = ":" in source
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
packed = [socket.inet_pton(socket.AF_INET6 if six else socket.AF_INET, a) for a in (source, target)]
head = struct.pack("!HHHH", 5000, 5001, 8 + len(data), 0)
pseudo = packed[0] + packed[1] + struct.pack("!II", 8 + len(data), 17) + head + data + b"\\0" * (len(data) % 2)
total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
while total >> 16: total = (total & 0xffff) + (total >> 16)
udp = struct.pack("!HHHH", 5000, 5001, 8 + len(data), ~total & 0xffff) + data
if six:
    s.setsockopt(41, 36, 1)  # IPV6_HDRINCL
    packet = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + packed[0] + packed[1] + udp
else:
    packet = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + packed[0] + packed[1] + udp
s.sendto(packet, (target, 0))
"""


def address(pod, family=4):
    _, node, number = pod.split("-")
    text = f"10.42.{INDEX[node]}.{10 + int(number)}" if family == 4 else f"fd42:{INDEX[node]:x}::{10 + int(number):x}"
    return str(ipaddress.ip_address(text))  # as it is written: fd42:0:: is fd42::


def network(node):
    return f"10.42.{INDEX[node]}.0/24"


def seen(lab, who, pod, family=4, patience=3):
    """The address with which the pod sees who called, or an empty string."""
    return lab.exec(who, "/usr/bin/python3", "-c", CLIENT, address(pod, family), str(patience), check=False).stdout.strip()


def configure(lab, node, text):
    lab.exec(node, "sh", "-c", f"cat > {CONFIG}", input=text)
    lab.oceanid(node, "reload")


def relayed(lab, node, peer):
    """The configuration of a worker that reaches another one through the relay."""
    key = re.search(rf'name: {peer}\n +public_key: "([^"]+)"', lab.good[RELAY])[1]
    far = (f'    - name: {peer}\n      public_key: "{key}"\n      address: [10.99.0.{TUNNEL[peer]}, "fd99::{TUNNEL[peer]}"]\n'
           f'      networks: [{network(peer)}, "fd42:{INDEX[peer]:x}::/64"]\n      via: {RELAY}\n')
    return lab.good[node].replace("tunnel:\n", "tunnel:\n  overlay: on\n").replace("  peers:\n", f"  peers:\n{far}")


def texts(lab):
    plain = {node: lab.good[node].replace("tunnel:\n", "tunnel:\n  overlay: on\n") for node in ("tethys", "meliae")}
    return plain | {"styx": relayed(lab, "styx", "calypso"), "calypso": relayed(lab, "calypso", "styx")}


def cni(lab, there):
    """Flannel's routes to the pods of other nodes."""
    for node in NODES:
        for far in (far for far in NODES if far != node):
            way = ("via", f"10.42.{INDEX[far]}.0", "dev", "flannel.1", "onlink") if there else ()
            lab.exec(node, "ip", "route", "replace" if there else "del", network(far), *way, check=there)


@pytest.fixture(scope="module")
def world(program):
    lab = Lab("ocovl", program)
    servers = []
    try:
        lab.up("--ipv6", "exit")
        lab.healthy()  # by tethys, also where meliae was the first to answer
        lab.good = {node: lab.exec(node, "cat", CONFIG).stdout for node in NODES}
        for node in NODES:
            servers.append(lab.popen(f"pod-{node}-1", "/usr/bin/python3", "-u", "-c", SERVER))
            assert servers[-1].stdout.readline().strip() == "ready", servers[-1].stderr.read()
        yield lab
    finally:
        for server in servers:
            server.kill()
            server.wait()
        lab.down()


@pytest.fixture(scope="module")
def overlay(world):
    lab = world
    for node, text in texts(lab).items():
        configure(lab, node, text)
    cni(lab, False)
    yield lab


def sent(lab, node, link):
    return int(lab.exec(node, "cat", f"/sys/class/net/{link}/statistics/tx_packets").stdout)


# First, while the overlay is still off.
def test_off_leaves_pods_to_the_cni(world):
    lab = world
    before = sent(lab, "styx", "flannel.1")
    assert seen(lab, "pod-styx-2", "pod-tethys-1") == address("pod-styx-2")
    assert sent(lab, "styx", "flannel.1") > before


def test_on_takes_them_before_the_cnis_routes(world):
    lab = world
    for node, text in texts(lab).items():
        configure(lab, node, text)
    lab.wait_for(lambda: seen(lab, "pod-styx-2", "pod-tethys-1") == address("pod-styx-2"), 15)
    before = {node: sent(lab, node, "flannel.1") for node in ("styx", "tethys")}
    for _ in range(5):
        assert seen(lab, "pod-styx-2", "pod-tethys-1") == address("pod-styx-2")
    for node, packets in before.items():
        assert sent(lab, node, "flannel.1") == packets, f"{node} sent by Flannel"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("source, target", [
    ("styx", "tethys"), ("tethys", "styx"), ("calypso", "meliae"), ("meliae", "calypso"), ("tethys", "meliae"),
    ("meliae", "tethys"), ("styx", "calypso"), ("calypso", "styx")])
def test_pods_reach_each_other_with_their_own_addresses(overlay, source, target, family):
    """styx and calypso have no tunnel to each other: tethys relays."""
    lab = overlay
    assert lab.exec(source, "ip", "route", "show", network(target)).stdout == "", "somebody else's route is still there"
    lab.wait_for(lambda: seen(lab, f"pod-{source}-2", f"pod-{target}-1", family) == address(f"pod-{source}-2", family), 10)


@pytest.mark.parametrize("source, target", [("tethys", "styx"), ("styx", "calypso")])
def test_nodes_reach_pods_with_their_tunnel_address(overlay, source, target):
    """As an API server reaches a webhook."""
    lab = overlay
    lab.wait_for(lambda: seen(lab, source, f"pod-{target}-1") == f"10.99.0.{TUNNEL[source]}", 10)


def test_a_pod_reaches_another_nodes_tunnel_address(overlay):
    lab = overlay
    lab.exec("pod-styx-2", "ping", "-c", "1", "-W", "3", "10.99.0.4")
    lab.exec("pod-styx-2", "ping", "-c", "1", "-W", "3", "fd99::4")


def test_large_packets_pass_the_relay(overlay):
    """The pods' whole MTU, which the tunnels carry."""
    lab = overlay
    lab.exec("pod-styx-2", "ping", "-c", "1", "-W", "3", "-M", "do", "-s", str(1280 - 28), address("pod-calypso-1"))


def test_the_internet_still_goes_by_the_exit(overlay):
    assert overlay.seen_as("pod-styx-1") == "203.0.113.10"
    assert overlay.seen_as("pod-calypso-1") == "203.0.113.10"


def test_nobody_is_told_of_a_shorter_way(overlay):
    """The relay sends out where the packet came in."""
    lab = overlay
    lab.exec("pod-styx-2", "ping", "-c", "3", "-i", "0.3", "-W", "3", address("pod-calypso-1"))
    said = lab.exec("pod-styx-2", "ping", "-c", "3", "-i", "0.3", "-W", "3", address("pod-calypso-1")).stdout
    assert "edirect" not in said


def test_a_relay_without_the_overlay_relays_nothing(overlay):
    lab = overlay
    try:
        configure(lab, RELAY, lab.good[RELAY])
        lab.wait_for(lambda: not seen(lab, "pod-styx-2", "pod-calypso-1", patience=1), 10)
        assert lab.seen_as("pod-styx-1") == "203.0.113.10"
    finally:
        configure(lab, RELAY, texts(lab)[RELAY])
    lab.wait_for(lambda: seen(lab, "pod-styx-2", "pod-calypso-1") == address("pod-styx-2"), 15)


def test_a_relay_lets_nobody_else_through(overlay):
    """A node that has the tunnel's key, but sends with another's address, or to what is no peer's."""
    lab = overlay
    try:
        lab.exec("styx", "ip", "address", "add", "10.42.2.77/32", "dev", "lo")
        lab.exec("styx", "ip", "rule", "add", "from", "10.42.2.77", "lookup", "4242", "priority", "50")
        lab.exec("styx", "ip", "route", "add", "default", "dev", "oc-tethys", "table", "4242")
        stolen = lab.exec("styx", "ping", "-c", "1", "-W", "1", "-I", "10.42.2.77", address("pod-calypso-1"), check=False)
        assert stolen.returncode != 0
        lab.exec("styx", "ip", "rule", "add", "to", "10.42.9.9", "lookup", "4242", "priority", "51")
        nowhere = lab.exec("styx", "ping", "-c", "1", "-W", "1", "-I", "10.99.0.3", "10.42.9.9", check=False)
        assert nowhere.returncode != 0
    finally:
        for rule in ("50", "51"):
            lab.exec("styx", "ip", "rule", "del", "priority", rule, check=False)
        lab.exec("styx", "ip", "route", "flush", "table", "4242", check=False)
        lab.exec("styx", "ip", "address", "del", "10.42.2.77/32", "dev", "lo", check=False)


def endpoint(lab, node, peer):
    return next(one["endpoint"] for one in lab.status(node)["tunnels"] if one["peer"] == peer and one["device"] == "oc-hub")


def move(lab, old, new):
    """The home network gives calypso another address. The old one first: with it go later ones of its network."""
    lab.exec("calypso", "ip", "address", "del", f"192.168.77.{old}/24", "dev", "eth0")
    lab.exec("calypso", "ip", "address", "add", f"192.168.77.{new}/24", "dev", "eth0")
    lab.exec("calypso", "ip", "route", "replace", "default", "via", "192.168.77.1")


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_of_the_relay_cannot_join_in_what_is_relayed(overlay, family):
    """With the addresses and ports of a connection that is established there."""
    lab = overlay
    python = ("/usr/bin/python3", "-u", "-c")
    mine, theirs = address("pod-styx-1", family), address("pod-calypso-1", family)
    echo = lab.popen("pod-calypso-1", *python, ECHO, theirs)
    try:
        assert echo.stdout.readline().strip() == "ready", echo.stderr.read()
        lab.exec(RELAY, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.cni0.rp_filter=0")
        for word in ("first", "second"):
            assert lab.exec("pod-styx-1", *python, ASK, mine, theirs, word).stdout.strip() == word
            assert echo.stdout.readline().strip() == word
        lab.exec(f"pod-{RELAY}-1", *python, FORGE, mine, theirs, "forged")
        assert lab.exec("pod-styx-1", *python, ASK, mine, theirs, "third").stdout.strip() == "third"
        assert echo.stdout.readline().strip() == "third"
    finally:
        echo.kill()
        echo.wait()


def test_a_node_behind_nat_dials_out_and_roams(overlay):
    """Its home network gives it another address: the router's mapping is a new one, the relay learns it from the first
    packet, and pods reach it from outside again without anybody's help."""
    lab = overlay
    before = lab.wait_for(lambda: endpoint(lab, RELAY, "calypso"))
    assert before.startswith("198.51.100.40:"), before
    try:
        move(lab, "40", "41")
        # Keepalive or data, whichever is first: 25 s at most; nobody but calypso can begin.
        lab.wait_for(lambda: seen(lab, "pod-calypso-2", "pod-styx-1") == address("pod-calypso-2"), 30)
        assert seen(lab, "pod-styx-2", "pod-calypso-1") == address("pod-styx-2")
        assert seen(lab, "pod-tethys-2", "pod-calypso-1") == address("pod-tethys-2")
        lab.wait_for(lambda: endpoint(lab, RELAY, "calypso") != before, 5)
    finally:
        move(lab, "41", "40")
    lab.wait_for(lambda: seen(lab, "pod-calypso-2", "pod-styx-1") == address("pod-calypso-2"), 30)


WATCH = ("table inet watch {\n counter clear { }\n chain pre {\n type filter hook prerouting priority -300;\n"
         " iifname node ip daddr 10.42.0.0/16 counter name clear\n iifname node ip saddr 10.42.0.0/16 counter name clear\n"
         " iifname node ip6 daddr fd42::/16 counter name clear\n iifname node ip6 saddr fd42::/16 counter name clear\n }\n}\n")


@pytest.fixture
def watched(overlay):
    """Counts what styx's provider sees of pods' own addresses."""
    lab = overlay
    lab.exec("isp-styx", "nft", "-f", "-", input=WATCH)

    def clear():
        listing = lab.exec("isp-styx", "nft", "list", "counter", "inet", "watch", "clear").stdout
        return int(re.search(r"packets (\d+)", listing)[1])
    try:
        # The witness sees: an address that is no peer's has main's default, and nobody promised otherwise.
        lab.exec("styx", "ping", "-c", "1", "-W", "1", "10.42.200.1", check=False)
        assert clear() > 0
        lab.exec("isp-styx", "nft", "reset", "counters")
        yield clear
    finally:
        lab.exec("isp-styx", "nft", "delete", "table", "inet", "watch", check=False)


def try_everything(lab):
    """Everybody who could send to another node's pods."""
    for who in ("pod-styx-2", "styx"):
        for target in ("tethys", "meliae", "calypso"):
            for family in (4, 6):
                lab.exec(who, "ping", "-c", "2", "-i", "0.2", "-W", "1", address(f"pod-{target}-1", family), check=False)


def test_nothing_leaves_in_clear_when_the_tunnel_is_away(overlay, watched):
    lab = overlay
    try:
        lab.fault("freeze", "on", "styx")  # nobody repairs
        for link in ("oc-tethys", "oc-meliae"):
            lab.exec("styx", "ip", "link", "del", link)
        try_everything(lab)
        assert watched() == 0, "the devices are gone"
        lab.fault("purge-routes", "on", "styx")
        try_everything(lab)
        assert watched() == 0, "the rules and routes are gone, too"
    finally:
        lab.fault("freeze", "off", "styx")
    lab.wait_for(lambda: seen(lab, "pod-styx-2", "pod-tethys-1") == address("pod-styx-2"), 30)


def test_nothing_leaves_in_clear_without_our_ruleset(overlay, watched):
    lab = overlay
    try:
        lab.fault("freeze", "on", "styx")
        lab.fault("flush-nft", "on", "styx")
        for link in ("oc-tethys", "oc-meliae"):
            lab.exec("styx", "ip", "link", "del", link)
        try_everything(lab)
        assert watched() == 0
    finally:
        lab.fault("flush-nft", "off", "styx")
        lab.fault("freeze", "off", "styx")
    lab.wait_for(lambda: seen(lab, "pod-styx-2", "pod-tethys-1") == address("pod-styx-2"), 30)


@pytest.fixture(params=[4, 6])
def flannel(overlay, request):
    """A VXLAN of Flannel's kind between styx's and tethys' tunnel addresses; its own packets carry DF, so that what is too
    large is lost, not cut in pieces."""
    lab, own = overlay, {"styx": "10.99.0.3", "tethys": "10.99.0.1"}
    if request.param == 6:
        own = {"styx": "fd99::3", "tethys": "fd99::1"}
    try:
        for number, (node, far) in enumerate((("styx", "tethys"), ("tethys", "styx")), 1):
            lab.exec(node, "ip", "link", "add", "flannel.9", "mtu", "1450", "type", "vxlan", "id", "9", "local", own[node],
                     "remote", own[far], "dstport", "8479", "nolearning", "df", "set")
            lab.exec(node, "ip", "address", "add", f"198.18.9.{number}/24", "dev", "flannel.9")
            lab.exec(node, "ip", "link", "set", "flannel.9", "up")
        yield lab, 50 if request.param == 4 else 70
    finally:
        for node in own:
            lab.exec(node, "ip", "link", "del", "flannel.9", check=False)


def test_flannel_on_tunnel_addresses_is_told_its_mtu(flannel):
    lab, header = flannel
    said = lab.oceanid("styx", "check", "--system", check=False).stdout
    assert re.search(rf"flannel\.9 has an MTU of 1450 and takes {header} bytes more on oc-\w+", said), said
    stack = lab.oceanid("styx", "mtu", "tethys", check=False).stdout
    wrong = re.search(r"wrong: overlay: flannel\.9 has 1450 on oc-tethys with (\d+): set it to (\d+)", stack)
    assert wrong and int(wrong[1]) - int(wrong[2]) == header, stack
    room = int(re.search(r"set the MTU of flannel\.9 and of the pods to (\d+)", said)[1])
    assert room == int(wrong[2])

    def passes(size):
        return lab.exec("styx", "ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(size - 28), "198.18.9.2",
                        check=False).returncode == 0
    for node in ("styx", "tethys"):
        lab.exec(node, "ip", "link", "set", "flannel.9", "mtu", str(room + 1))
    assert passes(room), "what was named fits the tunnel"
    assert not passes(room + 1), "and it is the most that does"
    assert "flannel.9 has an MTU" in lab.oceanid("styx", "check", "--system", check=False).stdout
    lab.exec("styx", "ip", "link", "set", "flannel.9", "mtu", str(room))
    assert "flannel.9 has an MTU" not in lab.oceanid("styx", "check", "--system", check=False).stdout
    assert "wrong: overlay" not in lab.oceanid("styx", "mtu", "tethys", check=False).stdout
