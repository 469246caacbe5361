#include "proxy/core/public_server.hpp"

#include <algorithm>
#include <vector>

namespace oceanid::proxy {

bool is_public_server(const Guard& guard, const IpAddress& address) {
  static const std::vector<Prefix> private_ranges = [] {
    std::vector<Prefix> out;
    for (const auto* text : {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                             "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10", "::1/128"})
      out.push_back(Prefix::parse(text).value());
    return out;
  }();
  const auto inside = [&](const Prefix& prefix) { return prefix.contains(address); };
  return std::ranges::none_of(private_ranges, inside) && guard.judge(address).allowed;
}

}  // namespace oceanid::proxy
