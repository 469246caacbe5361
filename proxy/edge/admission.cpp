#include "proxy/edge/admission.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Of two limits where 0 means none.
std::uint32_t the_smaller(std::uint32_t one, std::uint32_t other) {
  if (one == 0 || other == 0) return std::max(one, other);
  return std::min(one, other);
}

}  // namespace

bool client_allowed(const Snapshot& snapshot, const IpAddress& client) {
  return contains(snapshot.settings().clients, client);
}

Refusal refusal_of(const Decision& decision) {
  return {decision.reason, fmt::format("refused by {}", decision.rule), {}};
}

std::expected<Admission, Refusal> admit(ServerCore& core, const Snapshot& snapshot,
                                        const Identity& who, const HostPort& destination, Asked how,
                                        Trace& trace) {
  Admission out{snapshot.policy.decide(who, destination, how), {}};
  trace.record.role = out.decision.role;
  trace.record.rule = out.decision.rule;
  if (!out.decision.allowed) return std::unexpected(refusal_of(out.decision));
  if (out.decision.reported) trace.record.verdict = "report";
  const RoleLimits role_limits =
      out.decision.compiled ? out.decision.compiled->limits : RoleLimits();
  const auto shed = [&](Reason reason) {
    core.stats().shed(reason);
    return std::unexpected(Refusal{reason, {}, {}});
  };
  if (!core.ledger().may_ask(out.decision.role, role_limits.rate_per_second))
    return shed(Reason::rate_limit);
  const SlotLimits limits{
      the_smaller(snapshot.settings().limits.tunnels, snapshot.runtime->budget.tunnels),
      snapshot.settings().limits.per_client};
  auto slot = core.ledger().take({}, who.source, limits);
  if (!slot) return shed(slot.error());
  if (auto joined = core.ledger().join_role(*slot, out.decision.role, role_limits); !joined)
    return shed(joined.error());
  out.slot = std::move(*slot);
  const bool inventory = out.decision.compiled && out.decision.compiled->inventory;
  trace.asking = std::make_shared<const Asking>(Asking{who, destination, how, inventory});
  core.admitted(trace);
  return out;
}

}  // namespace oceanid::proxy
