#pragma once
// May this request go on? What every protocol asks before it dials: the policy, then a place within
// the limits. Fills in the record's role, rule and verdict.

#include "proxy/core/identity.hpp"
#include "proxy/edge/server_core.hpp"

#include <expected>

namespace oceanid::proxy {

struct Admission {
  Decision decision;
  TunnelLedger::Slot slot;  // held as long as the tunnel or request lasts
};

std::expected<Admission, Refusal> admit(ServerCore& core, const Snapshot& snapshot,
                                        const Identity& who, const HostPort& destination, Asked how,
                                        Trace& trace);

// The words for a refused request: what decided it.
Refusal refusal_of(const Decision& decision);

// Whether that address may use the listeners at all.
bool client_allowed(const Snapshot& snapshot, const IpAddress& client);

}  // namespace oceanid::proxy
