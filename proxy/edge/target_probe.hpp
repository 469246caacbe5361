#pragma once
// Is the service behind a connection alive? A few bytes in its own protocol, then the connection is
// closed.

#include "proxy/core/settings.hpp"
#include "proxy/edge/socket_linux.hpp"

#include <string>

namespace oceanid::proxy {

// tcp: connected is enough. tls: a completed handshake, whatever the certificate. postgres: an
// answer to SSLRequest (S or N, protocol 3.0 section 55.2.10; also E of very old servers).
awaitable<bool> target_answers(asio::io_context& io, Descriptor socket, ForwardProbe probe,
                               std::string host, SteadyClock::time_point deadline);

}  // namespace oceanid::proxy
