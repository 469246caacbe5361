#pragma once
// From an accepted connection to the session of the listener's protocol.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_client(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
