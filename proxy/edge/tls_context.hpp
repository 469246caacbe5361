#pragma once
// The TLS side of listeners: certificates, keys, authorities and revocation lists as OpenSSL wants
// them. TLS 1.2 with forward secrecy and AEAD ciphers at least. Contexts are counted by OpenSSL: a
// reload replaces them, open connections keep theirs.

#include "gateway/base/error.hpp"
#include "gateway/base/tls/openssl.hpp"
#include "proxy/edge/runtime.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <openssl/ssl.h>

namespace oceanid::proxy {

// Errors name the file and say what OpenSSL found; never a byte of a key.
Result<SslContext> make_tls_context(const ListenerSettings& listener, const Secrets& secrets);

// The contexts of one event loop's listeners.
class TlsContexts {
 public:
  // A listener whose files cannot be used keeps what it had (check_runtime() has refused such a
  // configuration before).
  void apply(const Runtime& runtime);
  // none: that listener has no usable certificate. Valid until the next apply().
  SSL_CTX* find(const SocketAddress& bind) const;

 private:
  struct Entry {
    ListenerSettings listener;
    SslContext context;
  };
  std::map<SocketAddress, Entry> entries_;
  std::shared_ptr<const Secrets> secrets_;
};

// Subject CN and SAN DNS, email and URI names, each once, those with bytes outside printable ASCII
// left out; at most 64.
std::vector<std::string> names_in_certificate(X509* certificate);

}  // namespace oceanid::proxy
