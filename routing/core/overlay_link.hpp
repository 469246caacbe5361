#pragma once
// A VXLAN link, as Flannel makes one: its outer packets carry an address of this node.

#include "gateway/base/net_types.hpp"

namespace oceanid::routing {

struct OverlayLink {
  IfName name;
  unsigned mtu = 0;
  IpAddress outer;  // unspecified: none of its own, the kernel chooses one of this family
  bool operator==(const OverlayLink&) const = default;
};

// What is around an inner IP packet: outer IP, UDP, VXLAN and the inner Ethernet header. Bytes.
constexpr unsigned overlay_header(Family outer) {
  return outer == Family::v4 ? 20 + 8 + 8 + 14 : 40 + 8 + 8 + 14;
}

}  // namespace oceanid::routing
