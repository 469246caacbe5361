#include "proxy/edge/admission.hpp"

#include "proxy/core/client_acl.hpp"

#include <utility>

namespace oceanid::proxy {

bool client_allowed(const Snapshot& snapshot, const IpAddress& client) {
  return contains(snapshot.settings().clients, client);
}

std::expected<Admission, Refusal> admit(ServerCore& core, const Snapshot& snapshot,
                                        const Identity& who, const HostPort& destination, Asked how,
                                        Trace& trace) {
  Admission out{snapshot.policy.decide(who, destination, how), {}};
  trace.record.role = out.decision.role;
  trace.record.rule = out.decision.rule;
  if (!out.decision.allowed) return std::unexpected(Refusal{out.decision.reason, {}, {}});
  const Limits& limits = snapshot.settings().limits;
  auto slot = core.ledger().take({}, who.source, {limits.tunnels, limits.per_client});
  if (!slot) {
    core.stats().shed(slot.error());
    return std::unexpected(Refusal{slot.error(), {}, {}});
  }
  out.slot = std::move(*slot);
  return out;
}

}  // namespace oceanid::proxy
