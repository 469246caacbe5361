#pragma once
// May this request go where it wants, by the operator's policy? Pure: identity and destination in,
// a decision with its reason out. The guard judges addresses on its own account besides.
//
// - Roles are tried in the configured order; the first that matches counts, no other one is looked
//   at. A role matches when every kind it gives (sources, users, certificates) holds one of the
//   client's; one without `match` matches everybody. No role: `policy.default`.
// - `enforce` lets through what `allow` names and nothing else; `report` lets everything through
//   and says what enforce would have refused; `open` lets everything through but what `deny` names.
// - A request for a name is judged twice: by the rules for names here, then by the rules for
//   addresses on each address that the name has (judge_address). A deny of either refuses; one
//   allow of either is enough.
// - `connect_ports` holds for tunnels of every role, unless the allow rule that matched names the
//   port.
//
// What `rule` says is the same in `oceanid explain`, in the access record and in the answer.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"
#include "proxy/core/identity.hpp"
#include "proxy/core/rule.hpp"
#include "proxy/core/settings.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::proxy {

// How the destination was asked for. Only a tunnel that the client names itself is held to
// `connect_ports`.
enum class Asked : std::uint8_t { tunnel, plain_http, intercepted };

// A role as it is asked for each request; shared by the decisions that came from it.
struct CompiledRole {
  std::string name;
  std::string key;  // how `rule` begins
  std::vector<Prefix> sources;
  std::vector<std::string> users;
  std::vector<std::string> certificates;  // lower case
  RoleAction action = RoleAction::enforce;
  RuleSet rules;
  ExitPin exit;
  RoleLimits limits;
  std::string fallback;  // what `rule` says when no rule matched
  bool inventory = false;
};

struct AddressVerdict {
  bool allowed = true;
  bool reported = false;
  Reason reason = Reason::ok;
  std::string rule;  // empty: the decision's own
};

struct Decision {
  bool allowed = false;
  bool reported = false;                  // allowed, but enforce would have refused it
  std::string role;                       // "default" when no role matched
  std::string rule;                       // the configuration key and value that decided
  Reason reason = Reason::policy_denied;  // ok when allowed
  ExitPin exit;                           // the role's pin

  // May that address of the destination be dialled? To ask for each one when `allowed`.
  AddressVerdict judge_address(const IpAddress& address) const;
  // The same when no address is known here, because another proxy resolves the name: what only a
  // rule for addresses could allow is refused.
  AddressVerdict judge_unresolved() const;

  std::shared_ptr<const CompiledRole> compiled;
  std::uint16_t port = 0;
  bool by_address = false;  // no rule for names matched: an allow for the address is needed
  bool port_open = true;    // false: that allow must name the port
  std::string ports_rule;   // what to say otherwise

 private:
  AddressVerdict verdict_of(const std::optional<RuleSet::Match>& match) const;
};

// Made once for each configuration; asked for each request. Immutable.
class Policy {
 public:
  explicit Policy(const ProxySettings& settings);
  // `destination` as parse_authority() makes it.
  Decision decide(const Identity& who, const HostPort& destination, Asked how) const;

 private:
  const std::shared_ptr<const CompiledRole>& role_of(const Identity& who) const;

  std::vector<std::uint16_t> ports_;
  std::vector<std::shared_ptr<const CompiledRole>> roles_;
  std::shared_ptr<const CompiledRole> default_;
};

}  // namespace oceanid::proxy
