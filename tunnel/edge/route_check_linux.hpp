#pragma once
// Can this node send to an address at all? A name may have addresses of a family that the node
// lacks.

#include "gateway/base/net_types.hpp"

#include <vector>

namespace oceanid::tunnel {

// Asks the kernel's routing with the mark of encapsulated packets; sends nothing. True when in
// doubt.
bool has_route(const SocketAddress& to, const Mark& fwmark);
// Those of them, in their order; all of them when there is a route to none: the line is down.
std::vector<SocketAddress> with_route(std::vector<SocketAddress> to, const Mark& fwmark);

}  // namespace oceanid::tunnel
