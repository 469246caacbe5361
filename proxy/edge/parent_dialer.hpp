#pragma once
// The way to a destination through the parent proxy (`proxy.parent`):
//
//   destination resolved here, if it can be, and every address judged
//   -> parent resolved, dialled by the exit like any destination (the operator's word: not judged)
//   -> CONNECT by the name that the client gave -> 2xx: the socket is the destination's
//
// A name that has no address here is the parent's to resolve; the guard sees nothing of it then.

#include "proxy/core/parent.hpp"
#include "proxy/edge/upstream.hpp"

#include <expected>
#include <optional>

namespace oceanid::proxy {

// Once for each request: a parent that is tried again resolves for itself anyway.
awaitable<std::optional<Refusal>> clear_for_parent(ServerCore& core, UpstreamRequest request,
                                                   ExitChoice exit, Trace& trace);

// One try. Until the connection to the parent stands, refusals carry the transport's own reasons
// (connection_refused, ...); as_parents() turns them into what clients hear.
awaitable<std::expected<Upstream, Refusal>> try_parent(ServerCore& core, UpstreamRequest request,
                                                       ParentProxy parent, ExitChoice exit,
                                                       Trace& trace);

// Nothing is wrong with the parent itself, whatever it says about the destination.
bool parent_answered(Reason reason);

Refusal as_parents(Refusal refusal, const ParentProxy& parent);

}  // namespace oceanid::proxy
