"""The path's MTU: found at the start, followed when it falls without a word, found again when it rises.

styx's provider gets a smaller path; with `silent` it drops what is too large and sends no ICMP error.
"""
import contextlib
import re
import subprocess
import time

import pytest

from conftest import EXIT_ADDRESS

NODE, EXIT = "styx", "tethys"
PATHS = (1500, 1492, 1460, 1420, 1400, 1340, 1280)
OVERHEAD = {4: 60, 6: 80}
RAISE = 8  # tunnel.mtu_raise, shortened
SHORT = {(4, 1400, True), (6, 1400, False), (6, 1280, True)}  # the rest with --long

PORT = 9010  # of a server in the internet

# An end of one connection: `internet` waits for it, anybody else begins it. One end sends 3 MB/s for fourteen seconds, the
# other prints the longest silence between two pieces, and how many bytes came after it. The sender is held back, not the
# receiver: what waits in a receiver's buffer would fill the silence.
TRANSFER = f"""
import socket, sys, time
who, task = sys.argv[1:]
if who == "internet":
    door = socket.create_server(("192.0.2.10", {PORT}))
    print("ready", flush=True)
    link = door.accept()[0]
else:
    link = socket.create_connection(("192.0.2.10", {PORT}), 5)
    link.settimeout(None)
if task == "send":
    begin, sent = time.monotonic(), 0
    while (now := time.monotonic() - begin) < 14:
        if sent > 3e6 * now:
            time.sleep(0.005)
            continue
        link.sendall(bytes(16384))
        sent += 16384
else:
    last, gap, after = None, 0.0, 0
    while piece := link.recv(65536):
        now = time.monotonic()
        if last is not None and now - last > gap:
            gap, after = now - last, 0
        last = now
        after += len(piece)
    print(f"{{gap:.3f}} {{after}}")
"""


def inner(path, family):
    return (path - OVERHEAD[family]) // 16 * 16


def tunnel(lab, node=NODE, peer=EXIT):
    return next((one for one in lab.status(node)["tunnels"] if one["peer"] == peer), None)


def found(lab, path, family):
    """What the tunnel to the exit has on both sides, or None while it is not what the path carries."""
    one = tunnel(lab)
    if not one or not one.get("path") or one["path"]["family"] != f"ipv{family}":
        return None
    want = inner(path, family)
    return one["mtu"] == want and one["path"].get("bytes") == want + OVERHEAD[family]


def link_mtu(lab, node, link):
    return int(re.search(r"mtu (\d+)", lab.exec(node, "ip", "link", "show", link).stdout)[1])


@pytest.fixture(scope="module")
def wide(whole_lab):
    """Pods as on a plain Ethernet, so that the tunnel is the narrow place; a short raise interval."""
    lab = whole_lab
    pods = (NODE, ("cni0", "veth1", "veth2")), (f"pod-{NODE}-1", ("eth0",)), (f"pod-{NODE}-2", ("eth0",))
    before = link_mtu(lab, NODE, "cni0")
    good = {node: lab.exec(node, "cat", "/etc/oceanid/oceanid.yaml").stdout for node in (NODE, EXIT)}
    try:
        for who, links in pods:
            for link in links:
                lab.exec(who, "ip", "link", "set", link, "mtu", "1500")
        for node, text in good.items():
            write(lab, node, text.replace("tunnel:\n", f"tunnel:\n  mtu_raise: {RAISE}s\n"))
            lab.oceanid(node, "reload")
        lab.good = good
        yield lab
    finally:
        for node, text in good.items():
            write(lab, node, text)
        lab.fault("path-mtu", "off", NODE)
        for node in good:
            lab.oceanid(node, "reload", check=False)
        for who, links in pods:
            for link in links:
                lab.exec(who, "ip", "link", "set", link, "mtu", str(before))


def write(lab, node, text):
    lab.exec(node, "sh", "-c", "cat > /etc/oceanid/oceanid.yaml", input=text)


def start_on(lab, path, silent, family):
    """A first start on this path: nothing is remembered. Returns the seconds until the number is right."""
    text = lab.good[NODE].replace("tunnel:\n", f"tunnel:\n  mtu_raise: {RAISE}s\n")
    address = lab.env()[f"LAB_{EXIT.upper()}_ADDRESS{'6' if family == 6 else ''}"]
    literal = f'"[{address}]:51820"' if family == 6 else f"{address}:51820"
    text = text.replace(f"{EXIT}.example.test:51820", literal)
    lab.fault("kill", "on", NODE, "netd")
    lab.exec(NODE, "rm", "-f", "/var/lib/oceanid/path-mtu")
    write(lab, NODE, text)
    if path < 1500:
        lab.fault("path-mtu", "on", NODE, str(path), *(["silent"] if silent else []))
    begin = time.monotonic()
    lab.fault("kill", "off", NODE)
    lab.wait_for(lambda: lab.oceanid(NODE, "status", "--json", check=False).returncode == 0, 20, 0.05)
    lab.wait_for(lambda: found(lab, path, family), 20, 0.05)
    return time.monotonic() - begin


def server(lab, task):
    process = lab.popen("internet", "/usr/bin/python3", "-c", TRANSFER, "internet", task)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def segments(lab):
    """The MSS of a pod's SYN and of the answer: when they come out of the tunnel, and where they arrive."""
    watched = ((EXIT, "oc-hub", 2), ("internet", EXIT, 2), (NODE, f"oc-{EXIT}", 18), (f"pod-{NODE}-1", "eth0", 18))
    running = []
    try:
        for who, link, flags in watched:
            running.append(lab.popen(who, "tcpdump", "-nvi", link, "-c", "1", f"tcp port {PORT} and tcp[13] == {flags}"))
        for capture in running:
            assert "listening" in capture.stderr.readline()
        running.append(server(lab, "receive"))
        lab.exec(f"pod-{NODE}-1", "/usr/bin/python3", "-c",
                 f"import socket; socket.create_connection(('192.0.2.10', {PORT}), 5).close()")
        return [int(re.search(r"\bmss (\d+)", capture.communicate(timeout=5)[0])[1]) for capture in running[:len(watched)]]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("path, silent, family", [
    pytest.param(path, silent, family, marks=() if (family, path, silent) in SHORT else pytest.mark.long,
                 id=f"{path}-{'silent' if silent else 'ptb'}-ipv{family}")
    for path in PATHS for silent in (False, True) for family in (4, 6)])
def test_a_first_start_finds_the_number(wide, path, silent, family, record_property):
    lab = wide
    try:
        took = start_on(lab, path, silent, family)
        record_property("seconds", round(took, 2))
        print(f"path {path} {'silent' if silent else 'with errors'} IPv{family}: right after {took:.2f} s")
        assert took < 4  # measured 1.4 to 1.8 s
        assert link_mtu(lab, NODE, f"oc-{EXIT}") == inner(path, family)
        # The exit's way back, too.
        lab.wait_for(lambda: tunnel(lab, EXIT, NODE)["mtu"] == inner(path, family), 5)
        back = lab.exec(EXIT, "ip", "route", "show", "table", "all", "dev", "oc-hub").stdout
        assert re.search(rf"^10\.42\.1\.0/24 .*mtu {inner(path, family)}\b", back, re.M), back
        lab.wait_for(lambda: lab.seen_as(f"pod-{NODE}-1", check=False, patience=2) == EXIT_ADDRESS[NODE])
        # Both ends know before their first byte what the tunnel takes; what leaves the hub goes by the smallest of its peers.
        mtu = inner(path, family)
        smallest = min(one["mtu"] for one in lab.status(EXIT)["tunnels"] if one["device"] == "oc-hub")
        assert smallest >= min(mtu, inner(1500, 6))
        assert segments(lab) == [mtu - 40, smallest - 40, mtu - 40, mtu - 40]
        # The largest packet passes the tunnel, in both directions, and TCP as well.
        ping = lab.exec(f"pod-{NODE}-1", "ping", "-c", "1", "-W", "3", "-M", "do", "-s", str(inner(path, family) - 28),
                        "192.0.2.10", check=False)
        assert ping.returncode == 0, ping.stdout
        assert lab.curl(f"pod-{NODE}-1", "https://www.example.test/bytes/300000", "-o", "/dev/null", "-w", "%{size_download}",
                        patience=15).stdout == "300000"
        want = f'oceanid_tunnel_path_mtu_bytes{{peer="{EXIT}",family="ipv{family}"}} {inner(path, family) + OVERHEAD[family]}\n'
        lab.wait_for(lambda: want in lab.exec(NODE, "curl", "-sS", "http://127.0.0.1:2000/metrics").stdout, 5)
    finally:
        if path < 1500:
            lab.fault("path-mtu", "off", NODE)


@contextlib.contextmanager
def transfer(lab, upload):
    """Between a pod and the internet; yields the end that receives."""
    running = []
    try:
        running.append(server(lab, "receive" if upload else "send"))
        running.append(lab.popen(f"pod-{NODE}-1", "/usr/bin/python3", "-c", TRANSFER, "pod", "send" if upload else "receive"))
        yield running[0 if upload else 1]
    finally:
        for process in running:
            process.kill()
            process.wait()


@pytest.mark.parametrize("path, upload", [
    pytest.param(path, upload, marks=() if path == 1400 else pytest.mark.long, id=f"{path}-{'up' if upload else 'down'}")
    for path in (1400, 1280) for upload in (False, True)])
def test_a_path_that_narrows_under_a_transfer_and_widens_again(wide, path, upload, record_property):
    lab = wide
    family = int(tunnel(lab)["path"]["family"][-1])
    lab.wait_for(lambda: found(lab, 1500, family), 4 * RAISE)
    try:
        with transfer(lab, upload) as receiver:
            time.sleep(5)
            lab.fault("path-mtu", "on", NODE, str(path), "silent")
            out, errors = receiver.communicate(timeout=60)
        gap, after = (float(word) for word in out.split())
        record_property("gap", gap)
        print(f"path 1500 -> {path}, silent: longest silence {gap:.2f} s, {after:.0f} bytes after it")
        # Measured 0.6 or 1.5 s: a sender tries again 0.2, 0.6 and 1.4 s after its last word, and 3 s after it.
        assert gap < 2 and after > 1_000_000, (out, errors)
        assert found(lab, path, family)
    finally:
        lab.fault("path-mtu", "off", NODE)
    begin = time.monotonic()
    lab.wait_for(lambda: found(lab, 1500, family), 3 * RAISE)
    took = time.monotonic() - begin
    record_property("raised", round(took, 2))
    print(f"raised again after {took:.1f} s")
    # A search that the path's change came too late for ends a second after its last probes, and the interval begins then.
    assert took < RAISE + 1.5


def test_large_packets_that_only_the_tunnel_loses_are_found_out(wide):
    """Something on the way drops WireGuard's large packets and lets our probes pass: echoes inside the tunnel tell."""
    lab = wide
    lab.wait_for(lambda: tunnel(lab, NODE, EXIT)["mtu"] == inner(1500, int(tunnel(lab)["path"]["family"][-1])), 4 * RAISE)
    namespace = lab.env()[f"LAB_{NODE.upper()}_NETNS"]
    table = ("table inet blocked {\n"
             "chain out { type filter hook output priority -300; udp dport 51820 meta length > 1350 drop; }\n"
             "chain in { type filter hook prerouting priority -300; udp sport 51820 meta length > 1350 drop; }\n}\n")
    subprocess.run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], input=table, text=True, check=True)
    try:
        begin = time.monotonic()
        lab.wait_for(lambda: link_mtu(lab, NODE, f"oc-{EXIT}") <= 1216, 30)
        print(f"smaller packets after {time.monotonic() - begin:.1f} s")
        lab.wait_for(lambda: tunnel(lab, EXIT, NODE)["mtu"] <= 1216, 5)
        assert lab.curl(f"pod-{NODE}-1", "https://www.example.test/bytes/300000", "-o", "/dev/null", "-w", "%{size_download}",
                        patience=15).stdout == "300000"
    finally:
        subprocess.run(["ip", "netns", "exec", namespace, "nft", "delete", "table", "inet", "blocked"], check=True)
    lab.wait_for(lambda: link_mtu(lab, NODE, f"oc-{EXIT}") > 1216, 16 * RAISE)


def test_the_number_outlives_a_restart(wide):
    lab = wide
    family = int(tunnel(lab)["path"]["family"][-1])
    try:
        lab.fault("path-mtu", "on", NODE, "1400", "silent")
        lab.wait_for(lambda: found(lab, 1400, family), 30)
        lab.fault("kill", "on", NODE, "netd")
        assert re.search(rf"^oc:{EXIT}/{family} {inner(1400, family) + OVERHEAD[family]}$",
                         lab.exec(NODE, "cat", "/var/lib/oceanid/path-mtu").stdout, re.M)
        lab.fault("kill", "off", NODE)
        lab.wait_for(lambda: lab.oceanid(NODE, "status", "--json", check=False).returncode == 0, 20, 0.05)
        assert tunnel(lab)["mtu"] == inner(1400, family), "before anything was measured"
    finally:
        lab.fault("path-mtu", "off", NODE)
    lab.wait_for(lambda: found(lab, 1500, family), 4 * RAISE)


def test_mtu_names_the_wrong_layer_and_the_number(wide):
    lab = wide
    family = int(tunnel(lab)["path"]["family"][-1])
    lab.wait_for(lambda: found(lab, 1500, family), 4 * RAISE)
    right = lab.oceanid(NODE, "mtu", EXIT)
    assert re.search(rf"^  nic +1500 +eth0$.*^  path +{inner(1500, family) + OVERHEAD[family]} .*"
                     rf"^  tunnel +{inner(1500, family)} +oc-{EXIT}$.*^  pod +1500 +cni0$", right.stdout, re.M | re.S), right
    text = lab.exec(NODE, "cat", "/etc/oceanid/oceanid.yaml").stdout
    try:
        lab.fault("path-mtu", "on", NODE, "1400")
        # A host that knows nothing of us: the exact number, by ICMP echo.
        plain = lab.exec(NODE, lab.program, "mtu", "192.0.2.10")
        assert re.search(r"^  path +1400 +192\.0\.2\.10, ICMP echo$", plain.stdout, re.M), plain
        write(lab, NODE, text.replace("tunnel:\n", "tunnel:\n  mtu: 1440\n"))
        lab.oceanid(NODE, "reload")
        lab.wait_for(lambda: tunnel(lab)["path"].get("bytes") == inner(1400, family) + OVERHEAD[family], 30)
        wrong = lab.oceanid(NODE, "mtu", EXIT, check=False)
        assert wrong.returncode == 1
        assert f"wrong: tunnel: 1440 is more than the path carries: set tunnel.mtu to {inner(1400, family)}" in wrong.stdout
    finally:
        write(lab, NODE, text)
        lab.oceanid(NODE, "reload")
        lab.fault("path-mtu", "off", NODE)


def test_a_host_that_answers_no_echo_is_measured_by_udp(wide):
    lab = wide
    drop = ("table inet blocked {\n chain way {\n type filter hook forward priority 0;\n"
            " icmp type echo-request drop\n icmpv6 type echo-request drop\n }\n}\n")
    lab.fault("path-mtu", "on", NODE, "1400")
    try:
        lab.exec(f"isp-{NODE}", "nft", "-f", "-", input=drop)
        for host in ("192.0.2.10", "2001:db8:2::10"):
            said = lab.exec(NODE, lab.program, "mtu", host, check=False)
            assert re.search(rf"^  path +1400 +{host}, UDP$", said.stdout, re.M), said
    finally:
        lab.exec(f"isp-{NODE}", "nft", "delete", "table", "inet", "blocked", check=False)
        lab.fault("path-mtu", "off", NODE)
