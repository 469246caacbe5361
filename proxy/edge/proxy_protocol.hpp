#pragma once
// A PROXY header in front of a client's bytes: read to its last byte and not one further, believed
// only from `trusted` senders.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

// Sets the client's address. false: refused, recorded and closed. `client` stays with the caller.
awaitable<bool> take_proxy_header(ServerCore& core, ClientConnection& client);

}  // namespace oceanid::proxy
