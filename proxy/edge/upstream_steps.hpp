#pragma once
// The steps of open_upstream() that a direct connection and one through a parent proxy share.

#include "proxy/edge/upstream.hpp"

#include <expected>
#include <vector>

namespace oceanid::proxy {

bool exit_died(const ServerCore& core, const ExitChoice& exit);

// The destination's addresses, as the exit's resolver knows them; the record's dns.
awaitable<ResolveResult> resolve_destination(ServerCore& core, const UpstreamRequest& request,
                                             const ExitChoice& exit, Trace& trace);

// Where we dial, one address that may be dialled is enough; where another proxy picks among them,
// all must be.
enum class Needed : std::uint8_t { one, all };

// The addresses that policy and guard allow, with the destination's port. Fills in the record's
// rule and verdict.
std::expected<std::vector<SocketAddress>, Refusal> judge_addresses(ServerCore& core,
                                                                   const UpstreamRequest& request,
                                                                   const Addresses& addresses,
                                                                   Needed needed, Trace& trace);

// By the exit's device, with its memory of bad addresses; over when the exit dies.
awaitable<std::expected<Dialed, DialFailure>> dial_by(ServerCore& core, ExitChoice exit,
                                                      std::vector<SocketAddress> addresses,
                                                      SteadyClock::time_point deadline);

// The record's connect, the statistics.
void note_connected(ServerCore& core, Trace& trace, SteadyClock::time_point began);

}  // namespace oceanid::proxy
