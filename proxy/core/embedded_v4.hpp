#pragma once
// IPv4 addresses carried inside IPv6 addresses. A guard that looks only at the outer form lets
// ::ffff:169.254.169.254 or a NAT64 spelling of it through.

#include "gateway/base/net_types.hpp"

#include <string_view>
#include <vector>

namespace oceanid::proxy {

struct EmbeddedV4 {
  IpAddress inner;
  unsigned first_bit = 0;  // where the inner address starts in the carrier
  std::string_view form;   // "IPv4-mapped", "NAT64", ...
};

// Every IPv4 address that the bits may stand for; empty for IPv4 and for plain IPv6. More than one
// where the form has two (Teredo: server and client) or where the layout cannot be told (local-use
// NAT64).
std::vector<EmbeddedV4> embedded_v4(const IpAddress& address);

}  // namespace oceanid::proxy
