#pragma once
// A VXLAN link, as Flannel makes one: its outer packets carry an address of this node.

#include "gateway/base/net_types.hpp"

namespace oceanid::routing {

struct OverlayLink {
  IfName name;
  unsigned mtu = 0;
  IpAddress outer;
  bool operator==(const OverlayLink&) const = default;
};

}  // namespace oceanid::routing
