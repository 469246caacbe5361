#include "proxy/core/connection_view.hpp"

#include <algorithm>
#include <string_view>

namespace oceanid::proxy {
namespace {

bool host_matches(std::string_view pattern, std::string_view host) {
  if (pattern.starts_with("*.")) return host.ends_with(pattern.substr(1));
  return host == pattern;
}

bool comes_from(const std::vector<Prefix>& sources, const std::string& source) {
  const auto address = SocketAddress::parse(source);
  return address && std::ranges::any_of(sources, [&](const Prefix& prefix) {
           return prefix.contains(address->address);
         });
}

}  // namespace

bool ConnectionFilter::matches(const ConnectionView& connection) const {
  if (!sources.empty() && !comes_from(sources, connection.source)) return false;
  if (!host.empty() && !host_matches(host, connection.host)) return false;
  if (!role.empty() && role != connection.role) return false;
  if (!exit.empty() && exit != connection.exit) return false;
  return forward.empty() || forward == connection.forward;
}

}  // namespace oceanid::proxy
