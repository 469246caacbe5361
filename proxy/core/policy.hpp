#pragma once
// May this request go where it wants, by the operator's policy? Pure: identity and destination in,
// a decision with its reason out. Addresses are the guard's business, after resolution.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"
#include "proxy/core/identity.hpp"
#include "proxy/core/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::proxy {

// How the destination was asked for. Only a tunnel that the client names itself is held to
// `connect_ports`.
enum class Asked : std::uint8_t { tunnel, plain_http, intercepted };

struct Decision {
  bool allowed = false;
  std::string role;                       // "default" when no role matched
  std::string rule;                       // the configuration key and value that decided
  Reason reason = Reason::policy_denied;  // ok when allowed
  std::optional<std::string> exit;        // the role's pin
};

// Made once for each configuration; asked for each request. Immutable.
class Policy {
 public:
  explicit Policy(const ProxySettings& settings);
  Decision decide(const Identity& who, const HostPort& destination, Asked how) const;

 private:
  std::vector<std::uint16_t> ports_;
  PolicyDefault default_;
};

}  // namespace oceanid::proxy
