"""The lab's links, addresses and routes as `ip -batch` text, one per namespace. No I/O here."""

from __future__ import annotations

from labkit import plan


def create(name) -> str:
    """Namespaces and veth pairs; `name` turns a role into a namespace's name. For plain `ip -batch`."""
    lines = [f"netns add {name(who)}" for who in plan.EVERYONE]
    pair = "link add {0} netns {1} mtu 1500 type veth peer name {2} netns {3} mtu 1500".format
    for node in plan.NODES.values():
        lines.append(pair("eth0", name(node.name), "node", name(node.provider)))
        lines.append(pair("wan", name(node.provider), _internet_port(node), name("internet")))
        for number, pod in enumerate(node.pods, 1):
            lines.append(pair("eth0", name(pod), f"veth{number}", name(node.name)))
    lines.append(pair("eth0", name("database"), "database", name("internet")))
    return "\n".join(lines) + "\n"


def inside(who: str, pods_ipv6: bool) -> str:
    """What `ip -n NAMESPACE -batch` does in one namespace."""
    if who == "internet":
        return _join(_internet())
    if who == "database":
        return _join(_database())
    if who == "nat":
        return _join(_nat())
    if who in plan.PODS:
        return _join(_pod(who, pods_ipv6))
    if who in plan.NODES:
        return _join(_node(plan.NODES[who], pods_ipv6))
    return _join(_provider(next(node for node in plan.NODES.values() if node.provider == who)))


def mesh_rules() -> str:
    """Tailscale's own rules on every node; once for `ip -4 -batch`, once for `ip -6 -batch`."""
    return _join(["rule add pref 5210 fwmark 0x80000/0xff0000 lookup main",
                  "rule add pref 5230 fwmark 0x80000/0xff0000 lookup default",
                  "rule add pref 5250 fwmark 0x80000/0xff0000 type unreachable",
                  "rule add pref 5270 lookup 52"])


def forwarding_entries(node: plan.Node, devices: tuple[str, ...] = ("tailscale0", "flannel.1")) -> str:
    """`bridge -batch`: which peer's outer address carries which inner address, for the mesh and for Flannel."""
    lines = []
    for peer in _peers(node):
        if "tailscale0" in devices:
            lines.append(f"fdb append {peer.mesh_mac} dev tailscale0 dst {peer.seen4} self permanent")
        if "flannel.1" in devices:
            lines.append(f"fdb append {peer.flannel_mac} dev flannel.1 dst {peer.mesh4} self permanent")
    return _join(lines)


# Links of a node that can go and come back, with what goes with each: Flannel's VXLAN stands on the mesh.
LINKS = {"eth0": (), "cni0": (), "tailscale0": ("tailscale0", "flannel.1"), "flannel.1": ("flannel.1",)}


def without(link: str) -> str:
    # The uplink is a card, which nobody deletes; its routes go with it all the same.
    return "link set eth0 down\n" if link == "eth0" else f"link del {link}\n"


def again(node: plan.Node, link: str, pods_ipv6: bool) -> str:
    """The link as its owner makes it once more."""
    if link == "eth0":
        return _join(["link set eth0 up", *_defaults(node)])
    if link == "cni0":
        return _join(_bridge(node, pods_ipv6))
    return _join((_mesh(node) if link == "tailscale0" else []) + _flannel(node))


def neighbours_routes(node: plan.Node) -> str:
    """The routes that Tailscale and Flannel put back when somebody has taken them."""
    lines = [line for line in _mesh(node) + _flannel(node) if line.startswith("route add")]
    return _join([line.replace("route add", "route replace", 1) for line in lines])


def _join(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _peers(node: plan.Node) -> list[plan.Node]:
    return [peer for peer in plan.NODES.values() if peer.name != node.name]


def _internet_port(node: plan.Node) -> str:
    return node.name if node.uplink6 else "nat"


def _internet() -> list[str]:
    lines = ["link set lo up"]
    for service in [*plan.SERVICES.values(), plan.INFRASTRUCTURE_DNS]:
        lines.append(f"addr add {service.address4}/32 dev lo")
        lines.append(f"addr add {service.address6}/128 dev lo nodad")
    for node in plan.NODES.values():
        port = _internet_port(node)
        lines.append(f"addr add fe80::1/64 dev {port} nodad")
        lines.append(f"link set {port} up")
        if not node.uplink6:
            lines.append(f"addr add {plan.NAT_GATEWAY}/28 dev {port}")
            continue
        first = plan.TRANSFER4[node.provider]
        lines.append(f"addr add 192.0.2.{first}/31 dev {port}")
        lines.append(f"route add {plan.network_of(node.uplink4)} via 192.0.2.{first + 1} dev {port}")
        lines.append(f"route add {plan.network_of(node.uplink6)} via fe80::2 dev {port}")
    lines += [
        f"addr add {plan.DATABASE_GATEWAY4}/28 dev database",
        "addr add fe80::1/64 dev database nodad",
        "link set database up",
        f"route add {plan.network_of(plan.DATABASE6)} dev database",
    ]
    return lines


def _database() -> list[str]:
    return ["link set lo up", f"addr add {plan.DATABASE4} dev eth0", f"addr add {plan.DATABASE6} dev eth0 nodad",
            "link set eth0 up", f"route add default via {plan.DATABASE_GATEWAY4}",
            "route add default via fe80::1 dev eth0"]


def _provider(node: plan.Node) -> list[str]:
    first = plan.TRANSFER4[node.provider]
    lines = ["link set lo up", f"addr add {node.gateway4}/28 dev node", "addr add fe80::1/64 dev node nodad",
             f"addr add 192.0.2.{first + 1}/31 dev wan", "addr add fe80::2/64 dev wan nodad",
             "link set node up", "link set wan up",
             f"route add default via 192.0.2.{first} dev wan", "route add default via fe80::1 dev wan",
             f"route add {plan.network_of(node.uplink6)} dev node"]
    # A cloud's metadata service, next to the machine: what a pod must never reach through the gateway.
    lines.append(f"addr add {plan.METADATA}/32 dev lo")
    return lines


def _nat() -> list[str]:
    node = plan.NODES["calypso"]
    return ["link set lo up", f"addr add {node.gateway4}/24 dev node", f"addr add {plan.NAT_OUTSIDE} dev wan",
            "addr add fe80::2/64 dev wan nodad", "link set node up", "link set wan up",
            f"route add default via {plan.NAT_GATEWAY} dev wan"]


def _pod_mtu(pods_ipv6: bool) -> int:
    # Linux takes IPv6 off a link below 1280 bytes, so pods cannot have it at Flannel's MTU here.
    return plan.MTU["mesh"] if pods_ipv6 else plan.MTU["flannel"]


def _pod(pod: str, pods_ipv6: bool) -> list[str]:
    node, _ = plan.split_pod(pod)
    mtu = _pod_mtu(pods_ipv6)
    lines = ["link set lo up", f"link set eth0 mtu {mtu} up", f"addr add {plan.pod_address(pod)}/24 dev eth0",
             f"route add default via {node.pod_gateway}"]
    if pods_ipv6:
        lines += [f"addr add {plan.pod_address6(pod)}/64 dev eth0 nodad", f"route add default via {node.pod_gateway6}"]
    return lines


def _node(node: plan.Node, pods_ipv6: bool) -> list[str]:
    lines = ["link set lo up", f"addr add {node.uplink4} dev eth0"]
    if node.uplink6:
        lines.append(f"addr add {node.uplink6} dev eth0 nodad")
    return [*lines, "link set eth0 up", *_defaults(node), *_mesh(node), *_flannel(node), *_bridge(node, pods_ipv6)]


def _defaults(node: plan.Node) -> list[str]:
    four = [f"route replace default via {node.gateway4}"]
    return [*four, "route replace default via fe80::1 dev eth0"] if node.uplink6 else four


def _mesh(node: plan.Node) -> list[str]:
    # VXLAN to fixed peers stands in for Tailscale's TUN device: same name, addresses, MTU, table and rules.
    lines = [f"link add tailscale0 mtu {plan.MTU['mesh']} address {node.mesh_mac} type vxlan id 52 "
             f"local {node.address4} dev eth0 dstport {plan.MESH_PORT} nolearning",
             f"addr add {node.mesh4}/32 dev tailscale0", f"addr add {node.mesh6}/128 dev tailscale0 nodad",
             "link set tailscale0 up"]
    for peer in _peers(node):
        lines += [f"neigh add {peer.mesh4} lladdr {peer.mesh_mac} dev tailscale0 nud permanent",
                  f"neigh add {peer.mesh6} lladdr {peer.mesh_mac} dev tailscale0 nud permanent",
                  f"route add {peer.mesh4}/32 dev tailscale0 table 52",
                  f"route add {peer.mesh6}/128 dev tailscale0 table 52"]
    return lines


def _flannel(node: plan.Node) -> list[str]:
    lines = [f"link add flannel.1 mtu {plan.MTU['flannel']} address {node.flannel_mac} type vxlan id 1 "
             f"local {node.mesh4} dev tailscale0 dstport {plan.FLANNEL_PORT} nolearning",
             f"addr add 10.42.{node.pod_index}.0/32 dev flannel.1", "link set flannel.1 up"]
    for peer in _peers(node):
        lines += [f"neigh add 10.42.{peer.pod_index}.0 lladdr {peer.flannel_mac} dev flannel.1 nud permanent",
                  f"route add {peer.pod_cidr} via 10.42.{peer.pod_index}.0 dev flannel.1 onlink"]
    return lines


def _bridge(node: plan.Node, pods_ipv6: bool) -> list[str]:
    mtu = _pod_mtu(pods_ipv6)
    lines = [f"link add cni0 mtu {mtu} type bridge", f"addr add {node.pod_gateway}/24 dev cni0"]
    if pods_ipv6:
        lines.append(f"addr add {node.pod_gateway6}/64 dev cni0 nodad")
    for number in (1, 2):
        lines.append(f"link set veth{number} mtu {mtu} master cni0 up")
    # A bridge without a fixed address takes its ports' lowest one: it would change as pods come and go.
    lines.append(f"link set cni0 address 02:c0:00:00:00:{node.pod_index:02x} up")
    return lines
