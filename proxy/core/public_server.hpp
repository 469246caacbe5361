#pragma once
// Which name servers are asked through the exit.

#include "proxy/core/guard.hpp"

namespace oceanid::proxy {

// A name server that only the world outside can reach: it is asked through the exit, so that it
// answers for the place where the traffic will come out, and so that names do not leak by the
// uplink. What the operator allows in the guard may still be private.
bool is_public_server(const Guard& guard, const IpAddress& address);

}  // namespace oceanid::proxy
