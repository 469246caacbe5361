#pragma once
// One question to a service beyond an exit, asked the way a client would: resolved through the
// exit, connected from a socket bound to it, and answered in the service's own protocol. One event
// loop's.

#include "proxy/core/probe_reply.hpp"
#include "proxy/edge/dialer.hpp"
#include "proxy/edge/resolver.hpp"
#include "proxy/edge/tls_context.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace oceanid::proxy {

enum class DeepKind : std::uint8_t { tcp, tls, postgres, http, dns };

struct DeepQuestion {
  DeepKind kind = DeepKind::tcp;
  HostPort to;                     // dns: the name alone
  std::optional<ProbeUrl> url;     // http
  std::optional<unsigned> status;  // http: what it must be; none: 200 to 399
  bool wants_address = false;      // http: the body is the caller's address
};

struct DeepAnswer {
  bool good = false;
  std::string error;
  std::optional<int> certificate_days;  // until it expires
  std::optional<IpAddress> seen;
};

// What TLS trusts: the host's authorities, SSL_CERT_FILE and SSL_CERT_DIR as OpenSSL has them.
SslContext probe_trust();

// `resolver` must outlive it. `now`: for the certificate's days.
awaitable<DeepAnswer> ask_deep(asio::io_context& io, DeepQuestion question, ExitChoice exit,
                               Resolver& resolver, SSL_CTX* trust,
                               SteadyClock::time_point deadline);

}  // namespace oceanid::proxy
