#include "proxy/core/client_acl.hpp"

#include <algorithm>

namespace oceanid::proxy {

IpAddress unmapped(const IpAddress& address) {
  const auto b = address.bytes();
  if (address.is_v4() || b[10] != 0xff || b[11] != 0xff ||
      !std::ranges::all_of(b.first(10), [](std::uint8_t byte) { return byte == 0; }))
    return address;
  return IpAddress::v4({b[12], b[13], b[14], b[15]});
}

bool contains(const std::vector<Prefix>& prefixes, const IpAddress& address) {
  const IpAddress plain = unmapped(address);
  return std::ranges::any_of(
      prefixes, [&](const Prefix& p) { return p.contains(plain) || p.contains(address); });
}

}  // namespace oceanid::proxy
