#pragma once
// One connection that nft's redirect or TPROXY brought here. The client believes that it talks to
// the destination itself, so we say nothing of our own: a refusal is a reset, and the access
// record.
//
//   original destination -> name (SNI or Host) -> policy -> slot -> dial the original address ->
//   relay
//
// The name is the client's word: it serves policy and log. The guard judges the address, and the
// address is what is dialled. A name that does not have this address is reported in the record.

#include "proxy/edge/client_connection.hpp"
#include "proxy/edge/server_core.hpp"

#include <optional>

namespace oceanid::proxy {

awaitable<void> serve_transparent(ServerCore& core, ClientConnection client);

// Where the connection was going; none: nothing brought it to `listener`.
std::optional<SocketAddress> original_destination(int fd, const ListenerSettings& listener);

}  // namespace oceanid::proxy
