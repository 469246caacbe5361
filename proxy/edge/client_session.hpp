#pragma once
// From an accepted connection to the session of the listener's protocol.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

// PROXY header, then TLS, then the protocol, each as the listener says.
awaitable<void> serve_client(ServerCore& core, ClientConnection client);

// The protocol alone; the socket gives its bytes in the clear.
awaitable<void> serve_protocol(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
