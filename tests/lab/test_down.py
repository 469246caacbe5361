"""`oceanid down` leaves the kernel as it was before the gateway came, byte for byte."""
import pytest

from conftest import NODES, Lab

READ = r"""
for family in -4 -6; do ip $family rule list; ip $family route show table all | sort; done
nft list ruleset
ip -o link show | sed 's/^[0-9]*: //; s/ qlen [0-9]*//' | sort
ip -o addr show | sed 's/^[0-9]*: //' | sort
for knob in ip_forward conf/*/rp_filter conf/*/src_valid_mark conf/*/forwarding; do
    for file in /proc/sys/net/ipv4/$knob; do echo "$file $(cat $file)"; done
done
for file in /proc/sys/net/ipv6/conf/*/{forwarding,accept_ra} /proc/sys/net/netfilter/nf_conntrack_acct; do
    echo "$file $(cat $file)"
done
"""


def settled(lab, node):
    """What the node's kernel says once it has stopped changing: IPv6 adds routes when its address checks are over."""
    last = [None]

    def twice_the_same():
        before, last[0] = last[0], lab.exec(node, "bash", "-c", READ).stdout
        return last[0] if last[0] == before else None
    return lab.wait_for(twice_the_same, 20, 2)


@pytest.fixture
def bare(program, request):
    lab = Lab("ocdown", program)
    lab.run("down")
    lab.run("up", "--no-gateway", *getattr(request, "param", ()), timeout=120)
    try:
        for node in NODES:
            settled(lab, node)
        yield lab
    finally:
        lab.down()


@pytest.mark.parametrize("stopped_first", (False, True), ids=("while it runs", "after it was killed"))
def test_down_restores_everything(whole_lab, stopped_first, tmp_path):
    """On the session's lab: taken down on one node, compared with what that node had before the gateway started."""
    lab = whole_lab
    lab.run("gateway", "stop", "styx")
    lab.oceanid("styx", "down")
    before = settled(lab, "styx")
    assert "oc-" not in before and "oceanid" not in before and "5100" not in before
    lab.run("gateway", "start", "styx")
    lab.healthy()
    during = lab.exec("styx", "bash", "-c", READ).stdout
    assert "oceanid" in during and "oc-tethys" in during
    if stopped_first:
        lab.fault("kill", "styx", "on", "all")
    assert "gone from the kernel" in lab.oceanid("styx", "down").stdout
    assert lab.exec("styx", "bash", "-c", READ).stdout == before
    if stopped_first:
        lab.fault("kill", "styx", "off")
    else:
        lab.wait_for(lambda: not lab.pids("styx", "oceanid-netd"), 15)
        lab.run("gateway", "start", "styx")
    lab.healthy()


@pytest.mark.parametrize("bare, mode", ((("--ipv6", "block"), "block"), (("--ipv6", "exit"), "exit")), ids=("ipv6 block", "ipv6 exit"),
                         indirect=["bare"])
def test_against_a_node_that_never_saw_the_gateway(bare, program, mode):
    """The first start ever, on an exit: what `down` leaves is what was there."""
    config = """
node: tethys
tunnel: { address: [10.99.0.1, "fd99::1"], peers: [{ name: styx, public_key: "%s", address: [10.99.0.3, "fd99::3"], networks: [10.42.1.0/24, "fd42:1::/64"] }] }
exits: [{ name: tethys, self: true, address: [203.0.113.10, "2001:db8:113::10"] }]
serve_exit: { uplink: eth0, address: [203.0.113.10, "2001:db8:113::10"], clients: [10.42.0.0/16, 10.99.0.0/24CLIENTS] }
routing: { sources: [10.42.0.0/24, "fd42:0::/64"], interfaces: [cni0], bypass: [10.42.0.0/16, 10.43.0.0/16, 100.64.0.0/10, "fd42::/16"], ipv6: MODE }
""".replace("MODE", mode).replace("CLIENTS", ', "fd42::/16"' if mode == "exit" else "")
    # As a machine has them that nobody has set up: what the gateway writes there is not there yet.
    bare.exec("tethys", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=1", "net.netfilter.nf_conntrack_acct=0")
    key = bare.exec("tethys", "bash", "-c", "wg genkey | wg pubkey").stdout.strip()
    bare.exec("tethys", "bash", "-c", "mkdir -p /etc/oceanid; cat > /etc/oceanid/oceanid.yaml", input=config % key)
    before = bare.exec("tethys", "bash", "-c", READ).stdout
    gateway = bare.popen("tethys", program, "run", "-c", "/etc/oceanid/oceanid.yaml")
    try:
        bare.wait_for(lambda: "in_force\":true" in bare.oceanid("tethys", "status", "--json", check=False).stdout.replace(" ", ""))
        during = bare.exec("tethys", "bash", "-c", READ).stdout
        assert "oceanid" in during and "nf_conntrack_acct 1\n" in during
        assert f"eth0/accept_ra {'2' if mode == 'exit' else '1'}\n" in during
        bare.oceanid("tethys", "down")
        gateway.communicate(timeout=60)
    finally:
        if gateway.poll() is None:
            gateway.kill()
    assert bare.exec("tethys", "bash", "-c", READ).stdout == before


def test_the_guard_alone_closes_a_node(bare, program):
    """Before the gateway runs, `oceanid guard` already stops what would leave by the uplink."""
    config = """
node: styx
tunnel: { listen: null, address: [10.99.0.3], peers: [{ name: tethys, public_key: "%s", endpoint: "203.0.113.10:51820", address: [10.99.0.1], networks: [10.42.0.0/24] }] }
exits: [{ name: tethys, peer: tethys, address: [203.0.113.10] }]
routing: { sources: [10.42.1.0/24], interfaces: [cni0], bypass: [10.42.0.0/16, 10.43.0.0/16, 100.64.0.0/10] }
"""
    key = bare.exec("styx", "bash", "-c", "wg genkey | wg pubkey").stdout.strip()
    bare.exec("styx", "bash", "-c", "mkdir -p /etc/oceanid; cat > /etc/oceanid/oceanid.yaml", input=config % key)
    bare.curl("pod-styx-1", "https://192.0.2.11/", "-k", check=False, patience=3)
    assert bare.leaks() > 0  # without it, the pod leaves by the node's own address
    bare.oceanid("styx", "guard")
    bare.reset_leaks()
    assert bare.curl("pod-styx-1", "https://192.0.2.11/", "-k", check=False, patience=3).returncode != 0
    assert bare.leaks() == 0
    env = bare.env()
    bare.exec("pod-styx-1", "ping", "-c", "1", "-W", "3", env["LAB_POD_TETHYS_1_ADDRESS"])  # the cluster lives on
    bare.oceanid("styx", "down")


@pytest.mark.parametrize("node", NODES)
def test_plan_changes_nothing(whole_lab, node):
    before = whole_lab.exec(node, "bash", "-c", READ).stdout
    assert whole_lab.oceanid(node, "plan").stdout == "nothing to change\n"
    assert whole_lab.exec(node, "bash", "-c", READ).stdout == before
