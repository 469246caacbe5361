#pragma once
// A client's TLS connection: the handshake, then a pump between it and one end of a local socket
// pair whose other end the session of the listener's protocol gets:
//
//   client == TLS == [pump] -- AF_UNIX pair -- session, relay
//
// close_notify and FIN are passed on as each other in both directions; a reset stays a reset where
// a tunnel is behind it. One record is held while a side is slow.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_tls(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
