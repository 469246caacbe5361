#pragma once
// From a TCP connection to a shim link: TLS, then the hellos of both sides. Nothing here has an end
// of its own: callers give the whole a deadline.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "tunnel/edge/shim_link.hpp"
#include "tunnel/edge/transport_tls.hpp"

#include <memory>
#include <span>
#include <string>

namespace oceanid::tunnel {

// A TCP connection that somebody has begun: waits until it stands.
awaitable<Result<void>> connected(ShimLink::Descriptor& socket);

// Asks an HTTP proxy for `target` and reads its answer, not a byte beyond.
awaitable<Result<void>> ask_proxy(ShimLink::Descriptor& socket, std::string target,
                                  std::string authorization);

awaitable<Result<void>> handshake(ShimLink::Descriptor& socket, SSL* ssl);

awaitable<Result<void>> say_hello(ShimLink::Descriptor& socket, SSL* ssl, Hello hello);
awaitable<Result<Hello>> hear_hello(ShimLink::Descriptor& socket, SSL* ssl);

// Reads and forgets until the other side has had enough: whoever knocks without a key learns
// nothing from how the door stays shut.
awaitable<void> ignore_the_rest(ShimLink::Descriptor& socket);

// Dials: our hello under `key`, and theirs has to answer it.
awaitable<Result<std::shared_ptr<ShimLink>>> prove_as_dialler(ShimLink::Descriptor socket, Ssl ssl,
                                                              TransportKey key, SessionId session);

}  // namespace oceanid::tunnel
