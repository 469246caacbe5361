"""Dual-stack pods: both families through the exits, or IPv6 blocked or left alone; tunnels of every size. In a lab of
its own where tunnels, exits and pods have both families."""
import pathlib
import re
import time

import pytest

from conftest import NODES, Lab
from matrix import EXITS6, KINDS, UNTURNED, Witness
from test_switch import SERVER, Cut, followed, idle, result

WWW, WWW6 = "192.0.2.10", "2001:db8:2::10"  # www.example.test
SIX = tuple(kind for kind in KINDS if kind != "proxy")


@pytest.fixture(scope="module")
def dual(program):
    lab = Lab("ocfam", program)
    try:
        lab.up("--ipv6", "exit")
        lab.healthy()  # by tethys, also where meliae was the first to answer
        lab.good = {node: lab.exec(node, "cat", "/etc/oceanid/oceanid.yaml").stdout for node in NODES}
        # Pods as on a plain Ethernet: larger than any tunnel.
        for who, links in (("styx", ("cni0", "veth1", "veth2")), ("pod-styx-1", ("eth0",)), ("pod-styx-2", ("eth0",))):
            for link in links:
                lab.exec(who, "ip", "link", "set", link, "mtu", "1500")
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="module")
def both(dual):
    witness = Witness(dual, six=True)
    try:
        witness.carried(six=SIX)
        yield witness
    finally:
        witness.close()


def configure(lab, change):
    """The same change to every node's configuration."""
    for node in NODES:
        lab.exec(node, "sh", "-c", "cat > /etc/oceanid/oceanid.yaml", input=change(lab.good[node]))
        lab.oceanid(node, "reload")


@pytest.fixture
def restored(dual):
    yield dual
    configure(dual, lambda text: text)


def ipv4_only(text):
    return re.sub(r', "[0-9a-f:]+(/\d+)?"', "", text).replace("ipv6: exit", "ipv6: block")


@pytest.mark.parametrize("fault", ["flush-nft", pytest.param("purge-routes", marks=pytest.mark.long)])
def test_both_families_leave_by_the_exits(both, fault):
    with both.case(tolerated=UNTURNED) as undo:
        both.carried(six=SIX)
        for node in NODES:
            both.lab.fault(fault, node, "on")
            undo.callback(both.lab.fault, fault, node, "off")
    both.carried(six=SIX)
    both.nothing_leaked(UNTURNED)


def test_ipv6_is_blocked(both, restored):
    with both.case() as undo:
        configure(restored, lambda text: text.replace("ipv6: exit", "ipv6: block"))
        time.sleep(1.2)  # what was asked before has been answered or given up, and written down
        both.carried()
        for pod in both.pods:
            flows = both.flows(pod)
            assert not any({"ok", *EXITS6} & set(flows.get(kind + "6", ())) for kind in SIX if not kind.endswith("open")), flows
        undo.callback(both.all_tried, [kind + "6" for kind in SIX])


def test_ipv6_is_ignored(both, restored):
    """It follows the node's own routes, as the operator wants it; IPv4 is held all the same. An exit's last line knows
    its clients all the same: what nobody translates does not leave there."""
    both.reset()
    configure(restored, lambda text: text.replace("ipv6: exit", "ipv6: ignore"))
    both.carried()
    both.lab.wait_for(lambda: both.wrong()[0], 10)
    wrong, _ = both.wrong()
    assert all(re.match(r"styx fd42:1::", key) for key in wrong), wrong


def test_back_from_ignored_nothing_is_left_over(both):
    both.carried(six=SIX)
    with both.case():
        pass


@pytest.mark.parametrize("mtu", [pytest.param(1500, marks=pytest.mark.long), 1420, pytest.param(1280, marks=pytest.mark.long),
                                 1230])
def test_tunnels_of_every_size(both, restored, mtu):
    """The largest packet passes, one byte more is answered with the size, and TCP never notices, in both directions."""
    lab = restored
    families = (4, 6) if mtu >= 1280 else (4,)
    with both.case(seconds=0.5):
        configure(lab, lambda text: (text if mtu >= 1280 else ipv4_only(text)).replace("tunnel:\n", f"tunnel:\n  mtu: {mtu}\n"))
        both.carried(six=SIX if 6 in families else ())
        lab.wait_for(lambda: f"mtu {mtu} " in lab.exec("styx", "ip", "link", "show", "oc-tethys").stdout)
        for family in families:
            www = {4: WWW, 6: WWW6}[family]
            payload = mtu - {4: 28, 6: 48}[family]
            ping = lambda size: lab.exec("pod-styx-2", "ping", "-c", "2", "-i", "0.3", "-W", "2", "-M", "do", "-s", str(size), www,
                                         check=False)
            assert ping(payload).returncode == 0
            if mtu < 1500:  # at 1500 it is the pod's own link
                told = ping(payload + 1)
                assert told.returncode != 0 and re.search(rf"mtu ?[=:] ?{mtu}\b", told.stdout + told.stderr), told
            url = f"https://www{family}.example.test"
            received = lab.exec("pod-styx-2", "sh", "-c", f"curl -sS -m 10 {url}/bytes/300000 | wc -c")
            assert received.stdout.strip() == "300000"
            sent = lab.exec("pod-styx-2", "sh", "-c", f"head -c 300000 /dev/zero | curl -sS -m 10 --data-binary @- {url}/upload")
            assert sent.stdout.startswith("300000 ")


def test_ipv6_at_1230_is_refused_and_explained(both):
    """Linux takes no IPv6 address on a link below 1280 bytes."""
    lab = both.lab
    with both.case(seconds=0.5) as undo:
        small = lab.good["styx"].replace("tunnel:\n", "tunnel:\n  mtu: 1230\n")
        lab.exec("styx", "sh", "-c", "cat > /etc/oceanid/oceanid.yaml", input=small)
        undo.callback(lab.exec, "styx", "sh", "-c", "cat > /etc/oceanid/oceanid.yaml", input=lab.good["styx"])
        for words in ("check", "reload"):
            refused = lab.oceanid("styx", words, check=False)
            assert refused.returncode != 0
            assert "tunnel.mtu: found 1230" in refused.stderr + refused.stdout and "1280" in refused.stderr + refused.stdout
        both.carried(six=SIX)


def test_a_path_too_narrow_for_ipv6_keeps_its_minimum_and_says_so(both, restored):
    """Packets between what the path carries and 1280 travel in pieces or get lost; none takes another way."""
    lab = both.lab
    log = pathlib.Path(f"/run/oceanid-lab/{lab.name}/log/oceanid-styx.log")
    said = log.stat().st_size

    def narrow():
        metrics = lab.exec("styx", "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout
        return int(re.search(r'^oceanid_tunnel_path_too_narrow\{peer="tethys"\} (\d)$', metrics, re.M)[1])
    configure(lab, lambda text: text.replace("tunnel:\n", "tunnel:\n  mtu_raise: 8s\n"))
    assert narrow() == 0
    with both.case() as undo:
        undo.callback(lab.fault, "path-mtu", "off", "styx")
        lab.fault("path-mtu", "on", "styx", "1300")
        lab.wait_for(narrow, 10)
        assert "mtu 1280 " in lab.exec("styx", "ip", "link", "show", "oc-tethys").stdout
        with log.open() as lines:
            lines.seek(said)
            assert "the path is too narrow for IPv6 inside the tunnel" in lines.read()
        lab.exec("pod-styx-1", "ping", "-6", "-c", "3", "-i", "0.2", "-W", "1", "-s", str(1280 - 48), WWW6, check=False)
        both.carried(six=SIX)
    lab.wait_for(lambda: not narrow(), 20)


def test_open_connections_of_both_families_are_reset(both):
    """Idle ones, when their exit is cut off; the next ones leave by the other exit."""
    lab = both.lab
    with both.case(seconds=0.5):
        servers = [lab.popen("internet", "/usr/bin/python3", "-c", SERVER, address, "7900") for address in (WWW, WWW6)]
        clients = []
        try:
            assert [server.stdout.readline() for server in servers] == ["ready\n"] * 2
            clients = [idle(lab, "pod-styx-1", (address, "7900"), 5) for address in (WWW, WWW6)]
            followed(lab, 10)
            with Cut(lab):
                for client in clients:
                    seen = result(client)
                    assert (seen["ended"], seen["reset"]) == (5, 5)
        finally:
            for process in servers + clients:
                process.kill()
                process.communicate()
        both.carried(six=SIX)
