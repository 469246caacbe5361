#pragma once
// What the host's network looks like, whoever made it: the roof fills the plan's Inputs from this
// (on-link networks, local addresses, the uplink's gateway and source). Plain values.

#include "gateway/base/net_types.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing {

struct AddressFacts {
  InterfaceAddress local;  // as `ip address` shows it
  Prefix network;  // what is on the link because of it; of the other end when point to point
  bool link_local = false;  // scope link or host: no source for traffic that leaves the link
  bool secondary = false;   // IPv4 secondary, IPv6 temporary or deprecated: no primary source
  bool operator==(const AddressFacts&) const = default;
};

struct LinkFacts {
  IfName name;
  std::uint32_t index = 0;
  bool up = false;  // administratively
  bool carrier = false;
  bool loopback = false;
  unsigned mtu = 0;
  std::string kind;  // "bridge", "vxlan", "wireguard", "tun", "veth"; empty: a real device
  // A bridge whose frames iptables sees (bridge-nf-call-iptables, -ip6tables): what pods send has
  // passed prerouting, and was counted, before it arrives on the bridge itself.
  bool tracked = false;
  std::vector<AddressFacts> addresses;
  bool operator==(const LinkFacts&) const = default;
};

// A default route of the main table, in the order in which the kernel prefers them.
struct DefaultRoute {
  Family family = Family::v4;
  IfName device;
  std::optional<IpAddress> gateway;
  std::uint32_t metric = 0;
  std::optional<IpAddress> source;
  bool operator==(const DefaultRoute&) const = default;
};

struct HostFacts {
  std::vector<LinkFacts> links;
  std::vector<DefaultRoute> defaults;
  bool operator==(const HostFacts&) const = default;
};

const LinkFacts* find_link(const HostFacts& facts, const IfName& name);
// First preferred default route of the family, on `device` when one is named.
const DefaultRoute* find_default(const HostFacts& facts, Family family,
                                 const std::optional<IfName>& device = std::nullopt);
// Primary global address of the link in the family: what the kernel would choose as a source.
std::optional<IpAddress> primary_address(const LinkFacts& link, Family family);

// A link that shows that somebody besides us needs forwarding (a CNI's or container engine's
// bridge, overlay or pod links). Plain veth pairs do not count: a machine's uplink may be one.
std::optional<IfName> other_forwarder(const HostFacts& facts);

}  // namespace oceanid::routing
