#pragma once
// May this request go where it wants, by the operator's policy? Pure: settings and destination in,
// a decision with its reason out. Addresses are the guard's business, after resolution.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"
#include "proxy/core/settings.hpp"

#include <string>

namespace oceanid::proxy {

struct Decision {
  bool allowed = false;
  std::string role;                       // "default" when no role matched
  std::string rule;                       // the configuration key and value that decided
  Reason reason = Reason::policy_denied;  // ok when allowed
};

Decision decide(const ProxySettings& settings, const HostPort& destination);

}  // namespace oceanid::proxy
