"""Names and addresses of the lab as plain values. No I/O here."""

from __future__ import annotations

import dataclasses
import ipaddress
import re

# Ranges of RFC 5737 and RFC 3849: what the lab's world is made of, and what `guard.allow` lists.
DOCUMENTATION = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
POD_RANGE = "10.42.0.0/16"
SERVICE_RANGE = "10.43.0.0/16"
MESH_RANGE = "100.64.0.0/10"
TUNNEL_RANGE = "10.99.0.0/24"
POD_RANGE6 = "fd42::/16"
TUNNEL_RANGE6 = "fd99::/64"
GATEWAY_SERVICE = "10.43.0.128"
METADATA = "169.254.169.254"

MESH_PORT = 41641  # as Tailscale's
FLANNEL_PORT = 8472
TUNNEL_PORT = 51820
PROXY_PORT = 3128
WAREHOUSE_PORT = 5432
NODE_PORT = 30080  # of a Service of type NodePort, and the port of the pod behind it
POD_PORT = 8080

MTU = {"underlay": 1500, "mesh": 1280, "flannel": 1230}


@dataclasses.dataclass(frozen=True)
class Node:
    name: str
    pod_index: int  # 10.42.<pod_index>.0/24
    mesh_index: int  # 100.64.0.<mesh_index>, 10.99.0.<mesh_index>
    uplink4: str  # address with prefix length on eth0
    gateway4: str
    uplink6: str | None  # None: the home connection has IPv4 only
    seen4: str  # how the mesh's peers reach it
    exit: bool

    @property
    def address4(self) -> str:
        return self.uplink4.split("/")[0]

    @property
    def address6(self) -> str | None:
        return self.uplink6.split("/")[0] if self.uplink6 else None

    @property
    def pod_cidr(self) -> str:
        return f"10.42.{self.pod_index}.0/24"

    @property
    def pod_gateway(self) -> str:
        return f"10.42.{self.pod_index}.1"

    @property
    def pod_cidr6(self) -> str:
        return f"fd42:{self.pod_index:x}::/64"

    @property
    def pod_gateway6(self) -> str:
        return f"fd42:{self.pod_index:x}::1"

    @property
    def mesh4(self) -> str:
        return f"100.64.0.{self.mesh_index}"

    @property
    def mesh6(self) -> str:
        return f"fd7a:115c:a1e0::{self.mesh_index:x}"

    @property
    def tunnel4(self) -> str:
        return f"10.99.0.{self.mesh_index}"

    @property
    def tunnel6(self) -> str:
        return f"fd99::{self.mesh_index:x}"

    @property
    def mesh_mac(self) -> str:
        return f"02:64:00:00:00:{self.mesh_index:02x}"

    @property
    def flannel_mac(self) -> str:
        return f"02:42:00:00:00:{self.pod_index:02x}"

    @property
    def provider(self) -> str:
        """The namespace in front of the node, where faults are made."""
        return f"isp-{self.name}" if self.uplink6 else "nat"

    @property
    def provider_port(self) -> str:
        """The provider's interface towards the node."""
        return "node"

    @property
    def pods(self) -> tuple[str, str]:
        return (f"pod-{self.name}-1", f"pod-{self.name}-2")


NODES = {
    node.name: node
    for node in (
        Node("tethys", 0, 1, "203.0.113.10/28", "203.0.113.1", "2001:db8:113::10/124", "203.0.113.10", True),
        Node("meliae", 2, 2, "203.0.113.20/28", "203.0.113.17", "2001:db8:113::20/124", "203.0.113.20", True),
        Node("styx", 1, 3, "198.51.100.30/28", "198.51.100.17", "2001:db8:100::30/124", "198.51.100.30", False),
        Node("calypso", 3, 4, "192.168.77.40/24", "192.168.77.1", None, "198.51.100.40", False),
    )
}
EXITS = {name: node for name, node in NODES.items() if node.exit}

# The home router in front of calypso.
NAT_OUTSIDE = "198.51.100.40/28"
NAT_GATEWAY = "198.51.100.33"

DATABASE4 = "192.0.2.130/28"
DATABASE_GATEWAY4 = "192.0.2.129"
DATABASE6 = "2001:db8:db::130/64"
DATABASE_PORT = 5432

# Transfer nets between `internet` and the providers: internet has the even address.
TRANSFER4 = {"isp-tethys": 224, "isp-meliae": 226, "isp-styx": 228}


@dataclasses.dataclass(frozen=True)
class Service:
    name: str  # host name below example.test
    address4: str
    address6: str


SERVICES = {
    service.name: service
    for service in (
        Service("www", "192.0.2.10", "2001:db8:2::10"),
        Service("ip", "192.0.2.11", "2001:db8:2::11"),
        Service("edge", "192.0.2.12", "2001:db8:2::12"),
        Service("dns", "192.0.2.53", "2001:db8:2::53"),
    )
}
# Answers the nodes' own questions (names of tunnel endpoints): not a service, so not in the leak counter.
INFRASTRUCTURE_DNS = Service("infra-dns", "192.0.2.54", "2001:db8:2::54")
DATABASE = Service("db", DATABASE4.split("/")[0], DATABASE6.split("/")[0])

ECHO_PORT = 7844
ZONE = "example.test"


def counted_services() -> list[Service]:
    return [*SERVICES.values(), DATABASE]


def zone_records() -> dict[str, dict[str, list[str]]]:
    """Host name -> {"A": [...], "AAAA": [...]}."""
    records: dict[str, dict[str, list[str]]] = {}
    for service in counted_services():
        records[f"{service.name}.{ZONE}"] = {"A": [service.address4], "AAAA": [service.address6]}
    www = SERVICES["www"]
    records[f"www4.{ZONE}"] = {"A": [www.address4], "AAAA": []}
    records[f"www6.{ZONE}"] = {"A": [], "AAAA": [www.address6]}
    records[f"metadata.{ZONE}"] = {"A": [METADATA], "AAAA": []}
    for node in NODES.values():
        if node.uplink6:
            records[f"{node.name}.{ZONE}"] = {"A": [node.address4], "AAAA": [node.address6]}
    return records


def pod_address(pod: str) -> str:
    node, number = split_pod(pod)
    return f"10.42.{node.pod_index}.{10 + number}"


def pod_address6(pod: str) -> str:
    node, number = split_pod(pod)
    return f"fd42:{node.pod_index:x}::{10 + number:x}"


def split_pod(pod: str) -> tuple[Node, int]:
    match = re.fullmatch(r"pod-([a-z]+)-([12])", pod)
    if not match or match[1] not in NODES:
        raise KeyError(pod)
    return NODES[match[1]], int(match[2])


PODS = [pod for node in NODES.values() for pod in node.pods]
PROVIDERS = [node.provider for node in NODES.values()]
EVERYONE = ["internet", "database", *PROVIDERS, *NODES, *PODS]


def valid_prefix(prefix: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9]{0,11}", prefix) is not None


def network_of(address: str) -> str:
    return str(ipaddress.ip_interface(address).network)
