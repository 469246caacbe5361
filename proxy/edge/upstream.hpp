#pragma once
// From a destination to a connected socket: choose the exit, resolve, judge each address, dial;
// over again when the exit dies meanwhile, by the next usable exit when this one cannot connect
// (not when the request pins one), and after a jittered pause when the path flaps; all within one
// deadline, past the destination's circuit breaker. Common to all protocols and forwards. With
// `proxy.parent` what clients ask for goes through that proxy (parent_dialer.hpp), and the circuit
// breaker is the parent's; forwards stay direct.

#include "proxy/edge/server_core.hpp"

#include <expected>
#include <optional>
#include <string>

namespace oceanid::proxy {

struct UpstreamRequest {
  HostPort destination;
  ExitPin exit;
  std::optional<Decision> policy;  // judges each address too; none: the operator's own word
  bool guarded = true;             // forwards are the operator's own word: not judged, direct
  std::string via;                 // the client's Via field, for a parent; empty: none
  SteadyClock::time_point deadline;
};

struct Upstream {
  Descriptor socket;
  SocketAddress address;  // the parent's, when there is one
  ExitChoice exit;
};

// Fills in the record's dns, connect, exit, address and, when the guard decides, its rule.
// `trace` stays with the caller until this has ended.
awaitable<std::expected<Upstream, Refusal>> open_upstream(ServerCore& core, UpstreamRequest request,
                                                          Trace& trace);

}  // namespace oceanid::proxy
