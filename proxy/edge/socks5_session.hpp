#pragma once
// One client connection of a SOCKS5 listener (RFC 1928, RFC 1929):
//
//   greeting -> method -> (user, password) -> CONNECT -> policy -> slot -> upstream -> relay
//
// The messages may come in one piece; bytes behind the request reach the destination. Whoever
// speaks HTTP here is told so in HTTP.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_socks5(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
