"""What people do without a gateway: a route to one of two WireGuard tunnels, and a script that looks at them.

    handshake   once a second `wg show latest-handshakes`; older than 150 s: the other tunnel
    ping        once a second one ping through the tunnel with a second's patience; three lost: the other tunnel
    bfd         keepalived with BFD through the tunnel (RFC 5880), as often as our echoes, and on the exit as well; its notify
                scripts replace the route

wireguard-go's devices, their keepalives, the node's rules and the exits are the lab's own; only what decides is exchanged.
"""

SCRIPTS = {
    "handshake": """
while sleep 1; do
  at=$(wg show oc-tethys latest-handshakes | cut -f2)
  if [ $(($(date +%s) - at)) -gt 150 ]; then ip route replace default dev oc-meliae table 13128; exit; fi
done""",
    "ping": """
lost=0
while sleep 1; do
  if ping -c 1 -W 1 -I oc-tethys 10.99.0.1 > /dev/null; then lost=0; else lost=$((lost + 1)); fi
  if [ $lost -ge 3 ]; then ip route replace default dev oc-meliae table 13128; exit; fi
done""",
}

PEERS = (*SCRIPTS, "bfd")
FILE = "/etc/oceanid/keepalived.conf"
BFD = """
bfd_instance {name} {{
  neighbor_ip {neighbour}
  source_ip {source}
  min_rx 200
  min_tx 200
  idle_tx 200
  multiplier 3
}}
"""
# An address of nobody as the only VRRP peer: what counts is the instance's state, which follows the BFD session.
VRRP = """
global_defs {
  script_user root
  enable_script_security
}
vrrp_instance exit {
  interface eth0
  state MASTER
  virtual_router_id 51
  priority 255
  unicast_src_ip 198.51.100.30
  unicast_peer {
    198.51.100.29
  }
  no_virtual_ipaddress
  track_bfd {
    tethys
  }
  notify_master "/sbin/ip route replace default dev oc-tethys table 13128"
  notify_fault "/sbin/ip route replace default dev oc-meliae table 13128"
}
"""


class Peer:
    def __init__(self, lab, kind):
        self.lab, self.script = lab, SCRIPTS.get(kind)
        self.processes = []
        lab.fault("kill", "on", "styx", "all")  # the devices, rules and routes stay
        if kind == "bfd":
            lab.exec("tethys", "tee", FILE, input=BFD.format(name="styx", neighbour="10.99.0.3", source="10.99.0.1"))
            lab.exec("styx", "tee", FILE, input=BFD.format(name="tethys", neighbour="10.99.0.1", source="10.99.0.3") + VRRP)

    def begin(self):
        self.close()
        self.route("oc-tethys")
        # After the last fault the tunnel has idled with its old handshake, which the script would take for another fault.
        ping = ("ping", "-c", "1", "-W", "1", "-I", "oc-tethys", "10.99.0.1")
        self.lab.wait_for(lambda: self.lab.exec("styx", *ping, check=False).returncode == 0, 60)
        if self.script:
            self.processes = [self.lab.popen("styx", "sh", "-c", self.script)]
            return
        self.route("oc-meliae")
        for node in ("tethys", "styx"):
            self.processes.append(self.lab.popen(node, "keepalived", "--dont-fork", "--use-file", FILE, "--pid", "/run/ka.pid",
                                                 "--vrrp_pid", "/run/ka-vrrp.pid", "--bfd_pid", "/run/ka-bfd.pid"))
        self.lab.wait_for(lambda: " oc-tethys " in self.lab.exec("styx", "ip", "route", "show", "default", "table", "13128").stdout
                          .partition("\n")[0], 20)

    def route(self, device):
        self.lab.exec("styx", "ip", "route", "replace", "default", "dev", device, "table", "13128")

    def close(self):
        for process in self.processes:
            process.terminate()
            process.wait()
        self.processes = []
