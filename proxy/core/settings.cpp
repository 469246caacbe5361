#include "proxy/core/settings.hpp"

namespace oceanid::proxy {

std::vector<Prefix> default_clients() {
  std::vector<Prefix> out;
  for (const auto* text : {"127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12",
                           "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"})
    out.push_back(Prefix::parse(text).value());
  return out;
}

}  // namespace oceanid::proxy
