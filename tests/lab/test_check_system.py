"""`oceanid check --system` on a host where much is in the way; its remedies, carried out, clear it."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess

import pytest

CONFIG = """node: tethys
state_dir: {folder}
run_dir: {folder}
tunnel: {{ address: [10.99.0.1], peers: [{{ name: styx, public_key: "c3R5eC1leGFtcGxlLWtleS1yZXBsYWNlLW1lLTEyMzQ=", address: [10.99.0.3], networks: [10.42.1.0/24] }}] }}
exits: [{{ name: tethys, self: true }}]
serve_exit: {{ uplink: eth0, clients: [10.42.0.0/16, 10.99.0.0/24] }}
routing: {{ sources: [10.42.0.0/24], interfaces: [cni0] }}
"""
# A host of its own: its network, and /run and /etc/systemd of its mount namespace.
HOST = """
set -e
mount --make-rprivate /
mount -t tmpfs none /etc/systemd; mount -t tmpfs none /run
ip link set lo up
ip link add eth0 type veth peer name far0; ip link set far0 up; ip addr add 203.0.113.10/28 dev eth0; ip link set eth0 up
ip route add default via 203.0.113.1
ip link add cni0 type bridge; ip addr add 10.42.0.1/24 dev cni0; ip link set cni0 up
sysctl -qw net.ipv4.ip_forward=1
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.cni0.rp_filter=0
sysctl -qw net.ipv4.conf.all.src_valid_mark=1
"""
IN_THE_WAY = """
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.all.src_valid_mark=0
nft -f - <<'NFT'
table inet filter {
  chain input { type filter hook input priority 0; policy drop; tcp dport { 22, 2000-2100 } accept; }
  chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; }
}
table inet vpn {
  chain colours { type filter hook prerouting priority mangle; meta mark set 0x3000000; }
  chain post { type nat hook postrouting priority 90; oifname eth0 masquerade; }
}
table ip filter {
  chain ufw-before-input { tcp dport 22 accept; }
  chain INPUT { type filter hook input priority 0; policy drop; jump ufw-before-input; }
}
NFT
ip rule add pref 5150 from 192.168.5.0/24 lookup 77
ip rule add pref 90 lookup 78
ip rule add pref 6000 fwmark 0xca6c lookup 51820
ip route add 198.18.0.0/15 via 203.0.113.1 table 13129
ip route add default via 203.0.113.1 table 52
mkdir -p /run/systemd/netif /etc/systemd/networkd.conf.d; echo OPER_STATE=routable > /run/systemd/netif/state
printf '[Network]\\nManageForeignRoutes=no\\n' > /etc/systemd/networkd.conf.d/10-half.conf
"""


class Host:
    def __init__(self, program, folder):
        self.program = program
        self.config = folder / "oceanid.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        self.holder = subprocess.Popen(["unshare", "-nm", "sh", "-c", HOST + "\necho up; exec sleep infinity"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "up\n", self.holder.stderr.read()

    def sh(self, script, check=True):
        result = subprocess.run(["nsenter", "-n", "-m", "-t", str(self.holder.pid), "bash", "-c", script], text=True,
                                capture_output=True, timeout=60)
        assert not check or result.returncode == 0, script + result.stdout + result.stderr
        return result

    def check(self, *options):
        return self.sh(f"{self.program} check --system -c {self.config} {' '.join(options)}", check=False)

    def findings(self):
        result = self.check("--json")
        out = json.loads(result.stdout)
        assert out["format"] == 1 and out["ok"] == (result.returncode == 0)
        return out["findings"]

    def close(self):
        # wireguard-go outlives the gateway that started it: everybody in this host's network goes.
        with open(f"/proc/{self.holder.pid}/ns/net", "rb") as kept:  # else its number is the next new network's
            network = os.fstat(kept.fileno()).st_ino
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if os.stat(process / "ns/net").st_ino == network:
                        os.kill(int(process.name), signal.SIGKILL)
        self.holder.communicate()


@pytest.fixture
def host(program, tmp_path):
    tmp_path.chmod(0o755)
    host = Host(program, tmp_path)
    try:
        yield host
    finally:
        host.close()


# The kernel that runs the test need not have everything.
KERNEL = {"features", "conntrack"}


def bad(findings):
    return [f for f in findings if f["severity"] != "ok" and f["topic"] not in KERNEL]


def test_a_fine_host_has_nothing_to_say(host):
    assert bad(host.findings()) == []
    result = host.check()
    assert all(line.split()[0] in ("ok", "warn", "error") for line in result.stdout.splitlines())
    assert "preferences 5100 to 5190 are free" in result.stdout


def test_what_is_in_the_way_is_named_and_its_remedies_clear_it(host):
    host.sh(IN_THE_WAY)
    found = host.findings()
    assert host.check().returncode == 1

    def one(severity, *parts):
        hits = [f for f in found if f["severity"] == severity and all(part in f["what"] for part in parts)]
        assert hits, (severity, parts, json.dumps(found, indent=1))
        return hits[0]["remedy"]
    remedies = [
        one("error", "inet filter input", "UDP port 51820"), one("error", "inet filter input", "UDP port 51821"),
        one("error", "inet filter input", "TCP port 3128"),
        one("error", "inet filter forward", "pods send in by cni0"), one("error", "inet filter forward", "clients send in by oc-hub"),
        one("warn", "net.ipv4.ip_forward is off"), one("warn", "net.ipv4.conf.eth0.rp_filter=1"),
    ]
    assert one("error", "ip filter INPUT", "UDP port 51820") == "ufw allow 51820/udp"
    assert one("error", "rule 5150", "stands among ours").endswith("ip -4 rule del pref 5150")
    assert one("error", "rule 90", "comes before ours").endswith("ip -4 rule del pref 90")
    assert "routing.table" in one("error", "routing table 13129")
    assert "routing.mark" in one("error", "inet vpn colours overwrites bits of our mark (0x0f000000)")
    assert "routing.mark" in one("warn", "rule 6000", "fwmark")
    assert one("error", "exit node of its tailnet") == "tailscale set --exit-node="
    assert "inet vpn post" in one("warn", "inet vpn post translates sources before we do")
    drop_in = one("warn", "ManageForeignRoutingPolicyRules, ManageForeignNextHops not switched off")
    # What is printed can be carried out as it stands.
    for remedy in remedies + [drop_in.removesuffix(" && systemctl restart systemd-networkd")]:
        host.sh(remedy)
    host.sh("ip rule del pref 5150; ip rule del pref 90; ip rule del pref 6000; nft delete table inet vpn; nft delete table ip filter")
    host.sh("ip route flush table 13129; ip route flush table 52")
    assert bad(host.findings()) == []


def test_the_start_says_the_cheap_part_of_it(host):
    host.sh(IN_THE_WAY)
    log = host.sh(f"timeout 10 {host.program} run -c {host.config} 2>&1 & sleep 2; kill %1; wait", check=False).stdout
    assert "stands among ours" in log and "switched off" in log and "policy" not in log


def test_a_wrong_configuration_is_a_usage_error(host):
    host.config.write_text("routing: { sorces: [10.42.0.0/24] }\n")
    assert host.check().returncode == 2
