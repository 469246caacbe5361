"""nftables text for every namespace of the lab. No I/O here."""

from __future__ import annotations

from labkit import plan

LEAK_TABLE = "lab_leaks"
FAULT_TABLE = "lab_faults"


def for_role(who: str) -> str:
    if who == "internet":
        return leak_counter()
    if who in plan.NODES:
        return node_neighbours(plan.NODES[who])
    if who == "nat":
        return fault_frame() + home_router()
    if who in plan.PROVIDERS:
        return fault_frame()
    return ""


def _elements(family: int) -> tuple[str, str]:
    services = ", ".join(getattr(service, f"address{family}") for service in plan.counted_services())
    exits = ", ".join(getattr(node, f"address{family}") for node in plan.EXITS.values())
    return services, exits


def _sets(family: int) -> str:
    services, exits = _elements(family)
    kind = f"ipv{family}_addr"
    return f"""
  set services{family} {{ type {kind}; elements = {{ {services} }} }}
  set exits{family} {{ type {kind}; elements = {{ {exits} }} }}
  set leakers{family} {{ type {kind} . {kind}; flags dynamic; size 1024; counter; }}"""


def _count(family: int, extra: str = "") -> str:
    ip = "ip" if family == 4 else "ip6"
    return (f"{ip} daddr @services{family} {extra}"
            f"update @leakers{family} {{ {ip} saddr . {ip} daddr }} counter name leaks")


def leak_counter() -> str:
    """Packets to the services from anybody but an exit on its own line. Counting only: it lets everything pass."""
    pairs4 = ", ".join(f'"{node.name}" . {node.address4}' for node in plan.EXITS.values())
    pairs6 = ", ".join(f'"{node.name}" . {node.address6}' for node in plan.EXITS.values())
    return f"""table inet {LEAK_TABLE} {{
  counter leaks {{ }}{_sets(4)}{_sets(6)}
  set genuine4 {{ type ifname . ipv4_addr; elements = {{ {pairs4} }} }}
  set genuine6 {{ type ifname . ipv6_addr; elements = {{ {pairs6} }} }}
  chain count {{
    type filter hook prerouting priority raw; policy accept;
    iifname {{ "lo", "database" }} accept
    {_count(4, "iifname . ip saddr != @genuine4 ")}
    {_count(6, "iifname . ip6 saddr != @genuine6 ")}
  }}
}}
"""


def fault_frame() -> str:
    """Chains that faults fill. What a fault drops on its way to a service is counted as a leak all the same:
    a gateway that leaks into a broken line has leaked."""
    return f"""table inet {FAULT_TABLE} {{
  counter leaks {{ }}{_sets(4)}{_sets(6)}
  chain condemn {{
    iifname "node" {_count(4, "ip saddr != @exits4 ")}
    iifname "node" {_count(6, "ip6 saddr != @exits6 ")}
    drop
  }}
  chain from_node {{ }}
  chain to_node {{ }}
  chain errors {{ }}
  chain ingress {{
    type filter hook prerouting priority -290; policy accept;
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    iifname "node" jump from_node
  }}
  chain egress {{
    type filter hook postrouting priority 290; policy accept;
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    oifname "node" jump to_node
  }}
  chain answers {{
    type filter hook output priority 0; policy accept;
    jump errors
  }}
  chain disguise {{
    type nat hook postrouting priority srcnat; policy accept;
  }}
}}
"""


def home_router() -> str:
    """Masquerades calypso's home; lets in only answers and what Tailscale keeps open for its own port."""
    calypso = plan.NODES["calypso"].address4
    return f"""table ip home {{
  chain inward {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" udp dport {plan.MESH_PORT} dnat to {calypso}
  }}
  chain outward {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" masquerade
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname "wan" ct status dnat accept
    iifname "wan" ct state established,related accept
    iifname "wan" drop
  }}
}}
"""


def node_neighbours(node: plan.Node) -> str:
    """What Flannel, kube-proxy and Tailscale keep on a node, under names close to theirs."""
    return flannel(node) + kube_proxy(node) + tailscale(node)


def flannel(node: plan.Node) -> str:
    own, pods = node.pod_cidr, plan.POD_RANGE
    return f"""table ip flannel-ipv4 {{
  chain postrtg {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 return
    ip saddr {own} ip daddr {pods} return
    ip saddr {pods} ip daddr {own} return
    ip saddr != {pods} ip daddr {own} return
    ip saddr {pods} ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != {pods} ip daddr {pods} masquerade fully-random
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    ip saddr {pods} accept
    ip daddr {pods} accept
  }}
}}
"""


def _service(node: plan.Node) -> str:
    ports = f"{plan.PROXY_PORT}, {plan.WAREHOUSE_PORT}"
    return f"ip daddr {plan.GATEWAY_SERVICE} tcp dport {{ {ports} }} dnat to {node.mesh4}"


def kube_proxy(node: plan.Node) -> str:
    return f"""table ip kube-proxy {{
  chain services {{
    type nat hook prerouting priority dstnat; policy accept;
    {_service(node)}
  }}
  chain services-output {{
    type nat hook output priority -100; policy accept;
    {_service(node)}
  }}
}}
"""


def kube_proxy_iptables(node: plan.Node) -> str:
    """The same service by kube-proxy in iptables mode, as iptables-nft writes it."""
    return f"""table ip nat {{
  chain KUBE-SERVICES {{
    {_service(node)}
  }}
  chain KUBE-POSTROUTING {{
    meta mark & 0x4000 != 0x4000 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }}
  chain PREROUTING {{
    type nat hook prerouting priority dstnat; policy accept;
    jump KUBE-SERVICES
  }}
  chain OUTPUT {{
    type nat hook output priority -100; policy accept;
    jump KUBE-SERVICES
  }}
  chain POSTROUTING {{
    type nat hook postrouting priority srcnat; policy accept;
    jump KUBE-POSTROUTING
  }}
}}
"""


NODE_PORT_TABLE = "kube-proxy-nodeport"


def node_port(address: str, cluster: bool) -> str:
    """A Service of type NodePort: with externalTrafficPolicy Local the pod sees the caller, with Cluster the node."""
    mark = "meta mark set meta mark | 0x4000 " if cluster else ""
    return f"""table ip {NODE_PORT_TABLE} {{
  chain nodeports {{
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport {plan.NODE_PORT} {mark}dnat to {address}:{plan.POD_PORT}
  }}
  chain masquerading {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 != 0x4000 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }}
}}
"""


def tailscale(node: plan.Node) -> str:
    return f"""table ip tailscale {{
  chain ts-input {{
    type filter hook input priority filter; policy accept;
    ip saddr {node.mesh4} iifname "lo" accept
    ip saddr {plan.MESH_RANGE} iifname != {{ "tailscale0", "cni0", "lo" }} drop
  }}
  chain ts-forward {{
    type filter hook forward priority filter; policy accept;
    iifname "tailscale0" meta mark set meta mark & 0xff00ffff ^ 0x40000
    oifname "tailscale0" ip saddr {plan.MESH_RANGE} drop
  }}
  chain ts-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0xff0000 == 0x40000 masquerade
  }}
}}
"""
