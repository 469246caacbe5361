"""What people do without a gateway: a route to one of two WireGuard tunnels, and a script that looks at them.

    handshake   once a second `wg show latest-handshakes`; older than 150 s: the other tunnel
    ping        once a second one ping through the tunnel with a second's patience; three lost: the other tunnel

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


class Peer:
    def __init__(self, lab, kind):
        self.lab, self.script = lab, SCRIPTS[kind]
        self.process = None
        lab.fault("kill", "on", "styx", "all")  # the devices, rules and routes stay

    def begin(self):
        self.close()
        self.lab.exec("styx", "ip", "route", "replace", "default", "dev", "oc-tethys", "table", "13128")
        # After the last fault the tunnel has idled with its old handshake, which the script would take for another fault.
        ping = ("ping", "-c", "1", "-W", "1", "-I", "oc-tethys", "10.99.0.1")
        self.lab.wait_for(lambda: self.lab.exec("styx", *ping, check=False).returncode == 0, 60)
        self.process = self.lab.popen("styx", "sh", "-c", self.script)

    def close(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
