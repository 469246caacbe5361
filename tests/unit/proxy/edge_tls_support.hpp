#pragma once
// Certificates made on the spot, and a blocking TLS client.

#include "proxy/edge/tls_pump.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <memory>
#include <string>
#include <vector>

#include <openssl/x509.h>

namespace oceanid::proxy::test {

struct Pem {
  std::string certificate;
  std::string key;
};

// A P-256 authority that signs certificates and revocation lists.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  const std::string& certificate() const { return pem_; }
  // `alternative`: as in openssl's configuration, "DNS:a.test,email:x@a.test"; empty: none.
  Pem issue(const std::string& common_name, const std::string& alternative = {}, long serial = 2);
  std::string revoke(const std::vector<long>& serials);

 private:
  EVP_PKEY* key_ = nullptr;
  X509* self_ = nullptr;
  std::string pem_;
};

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
