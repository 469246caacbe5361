#include "proxy/core/settings.hpp"

#include <algorithm>

namespace oceanid::proxy {

std::vector<Prefix> default_clients() {
  std::vector<Prefix> out;
  for (const auto* text : {"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12",
                           "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"})
    out.push_back(Prefix::parse(text).value());
  return out;
}

bool speaks_tls(const ProxySettings& settings) {
  return std::ranges::any_of(settings.listeners,
                             [](const ListenerSettings& one) { return one.tls.has_value(); });
}

}  // namespace oceanid::proxy
