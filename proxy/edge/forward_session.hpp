#pragma once
// One connection of a forward: the client's address, the limits, then the targets in the operator's
// order until one answers. TCP has no words for "no": a refusal is a reset, and the access record.

#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_forward(ServerCore& core, Descriptor client, SocketAddress peer,
                              ForwardSettings forward);

}  // namespace oceanid::proxy
