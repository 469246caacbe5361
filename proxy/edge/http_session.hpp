#pragma once
// One client connection of the HTTP listener until it has become a tunnel or has been refused:
//
//   accepted -> client allowed? -> head -> CONNECT? -> policy -> slot -> upstream -> relay
//                     \______________\_________\__________\_______\_________\-> answer, close
//
// One request a connection: after a refusal nothing more is read as a request (RFC 9931).

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

namespace oceanid::proxy {

awaitable<void> serve_http(ServerCore& core, ClientConnection client);

}  // namespace oceanid::proxy
