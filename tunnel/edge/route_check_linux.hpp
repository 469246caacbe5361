#pragma once
// Can this node send to an address at all? A name may have addresses of a family that the node
// lacks.

#include "gateway/base/net_types.hpp"

namespace oceanid::tunnel {

// Asks the kernel's routing with the mark of encapsulated packets; sends nothing. True when in
// doubt.
bool has_route(const SocketAddress& to, const Mark& fwmark);

}  // namespace oceanid::tunnel
