#include "proxy/core/policy.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::proxy {

Policy::Policy(const ProxySettings& settings)
    : ports_(settings.connect_ports), default_(settings.policy.default_action) {}

Decision Policy::decide(const Identity&, const HostPort& destination, Asked how) const {
  Decision out{.allowed = false,
               .role = "default",
               .rule = {},
               .reason = Reason::policy_denied,
               .exit = std::nullopt};
  if (how == Asked::tunnel && !ports_.empty() &&
      std::ranges::find(ports_, destination.port) == ports_.end()) {
    out.rule = fmt::format("proxy.connect_ports: {}", fmt::join(ports_, ", "));
    out.reason = Reason::port_not_allowed;
    return out;
  }
  switch (default_) {
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
