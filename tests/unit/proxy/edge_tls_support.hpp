#pragma once
// A blocking TLS client, and an authority for its certificates.

#include "proxy/edge/tls_pump.hpp"
#include "tests/fakes/test_authority.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <memory>
#include <string>
#include <vector>

namespace oceanid::proxy::test {

using fakes::Pem;
using fakes::TestAuthority;

struct TlsOptions {
  Pem certificate;  // empty: none is shown
  std::vector<std::string> alpn;
  int max_version = 0;
};

// Waits at most 10 s in every call.
class TlsPeer {
 public:
  explicit TlsPeer(Peer peer, const TlsOptions& options = {});
  bool handshake();  // TLS 1.3: a server may still refuse our certificate afterwards
  bool send_all(std::string_view bytes);
  std::string recv_exact(std::size_t size);
  std::string recv_head();
  std::string recv_all();                          // until the end; ended_properly() tells how
  bool ended_properly() const { return closed_; }  // by close_notify
  void finish_sending();                           // close_notify, then FIN
  Peer& peer() { return peer_; }
  SSL* ssl() { return ssl_.get(); }
  std::string alpn() const;
  std::string server_name() const;  // CN of what it showed

 private:
  std::string read(std::size_t most);
  Peer peer_;
  SslContext context_;
  Ssl ssl_;
  bool closed_ = false;
};

}  // namespace oceanid::proxy::test
