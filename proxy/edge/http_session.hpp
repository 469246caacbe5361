#pragma once
// One client connection of the HTTP listener:
//
//   accepted -> client allowed? -> head -> CONNECT -> policy, slot -> upstream -> relay
//                     ^             \
//                     |              plain request -> policy, slot -> exchange with the origin
//                     +------------------------------------------------------+
//
// A refusal is answered and ends the connection: after a rejected CONNECT nothing more is read as a
// request (RFC 9931), and after a rejected plain request its content is not waited for.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_http(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
