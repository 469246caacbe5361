#pragma once
// One client connection of the HTTP listener:
//
//   accepted -> client allowed? -> head -> CONNECT -> policy, slot -> upstream -> relay
//                     ^             \
//                     |              plain request -> policy, slot -> exchange with the origin
//                     +------------------------------------------------------+
//
// A refusal is answered. After a rejected CONNECT that ends the connection, nothing more is read as
// a request (RFC 9931); after a plain request that was whole and well-formed the client may ask
// again, so that a 407 does not cost it a connection.
// Belongs to its core's loop.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_http(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
