#include "proxy/core/policy.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::proxy {

Decision decide(const ProxySettings& settings, const HostPort& destination) {
  Decision out{.allowed = false, .role = "default", .rule = {}, .reason = Reason::policy_denied};
  const auto& ports = settings.connect_ports;
  if (!ports.empty() && std::ranges::find(ports, destination.port) == ports.end()) {
    out.rule = fmt::format("proxy.connect_ports: {}", fmt::join(ports, ", "));
    out.reason = Reason::port_not_allowed;
    return out;
  }
  switch (settings.policy.default_action) {
    case PolicyDefault::deny:
      out.rule = "proxy.policy.default: deny";
      return out;
    case PolicyDefault::allow:
      out.rule = "proxy.policy.default: allow";
      break;
    case PolicyDefault::report:
      out.rule = "proxy.policy.default: report";
      break;
  }
  out.allowed = true;
  out.reason = Reason::ok;
  return out;
}

}  // namespace oceanid::proxy
