#pragma once
// TLS as the shim speaks it: 1.3 only, our own ALPN, no resumption (every connection has keying
// material of its own to prove the peers' keys with). Certificates are optional: without any, the
// accepting side makes one up at its start, and the hello's MAC is what proves both sides; with an
// authority configured the certificate must be right as well.

#include "gateway/base/error.hpp"
#include "gateway/base/tls/openssl.hpp"
#include "tunnel/edge/transport_keys.hpp"

#include <optional>
#include <string>

namespace oceanid::tunnel {

// PEM texts; empty: none.
struct TlsMaterial {
  std::string certificate;  // the chain that we show
  std::string key;
  std::string authority;  // who must have signed the other side's
  bool operator==(const TlsMaterial&) const = default;
};

Result<SslContext> make_accepting_context(const TlsMaterial& material);
Result<SslContext> make_dialling_context(const TlsMaterial& material);

// Ready for SSL_accept; `fd` stays the caller's.
Result<Ssl> accepting(SSL_CTX* context, int fd);
// Ready for SSL_connect; `host`, a name or an address, is what a certificate must be for when one
// is asked for.
Result<Ssl> dialling(SSL_CTX* context, int fd, const std::string& host);

// none: the other side does not speak our protocol (ALPN), or the handshake is not done.
std::optional<Exported> exported_of(SSL* ssl);

}  // namespace oceanid::tunnel
