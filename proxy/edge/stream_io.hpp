#pragma once
// Whole strings over a stream socket, for exchanges of messages (tunnels have the relay).

#include "proxy/edge/relay_pool.hpp"
#include "proxy/edge/socket_linux.hpp"
#include "proxy/edge/throttle.hpp"

#include <chrono>
#include <expected>
#include <string>

namespace oceanid::proxy {

// Everything, or false: the other side is gone or takes nothing for longer than `patience`.
// `throttle` (null: none) paces it, in pieces as they are allowed. `to` and `timer` stay with the
// caller.
awaitable<bool> send_all(Descriptor& to, std::string bytes, Timer& timer,
                         std::chrono::milliseconds patience, Throttle* throttle = nullptr);

enum class NoBytes : std::uint8_t { silent, broken };

// The next bytes; empty at the end of the stream.
awaitable<std::expected<std::string, NoBytes>> receive(Descriptor& from, RelayPool& pool,
                                                       Timer& timer,
                                                       std::chrono::milliseconds patience);

}  // namespace oceanid::proxy
