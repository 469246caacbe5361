#pragma once
// Who may use a listener: the client's address against a list of prefixes.

#include "gateway/base/net_types.hpp"

#include <vector>

namespace oceanid::proxy {

// An IPv4-mapped IPv6 address (::ffff:0:0/96, what a dual-stack listener reports for an IPv4
// client) as the IPv4 address it is; every other address unchanged.
IpAddress unmapped(const IpAddress& address);

// Whether any prefix contains the address, or its unmapped form.
bool contains(const std::vector<Prefix>& prefixes, const IpAddress& address);

}  // namespace oceanid::proxy
