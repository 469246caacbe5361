#include "tests/unit/proxy/edge_tls_support.hpp"

#include <gtest/gtest.h>
#include <openssl/pem.h>

namespace oceanid::proxy::test {

TlsPeer::TlsPeer(Peer peer, const TlsOptions& options)
    : peer_(std::move(peer)), context_(SSL_CTX_new(TLS_client_method())) {
  if (options.max_version != 0) SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
  if (!options.certificate.key.empty()) {
    BIO* bio = BIO_new_mem_buf(options.certificate.certificate.data(), -1);
    X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(context_.get(), certificate);
    X509_free(certificate);
    BIO_free(bio);
    bio = BIO_new_mem_buf(options.certificate.key.data(), -1);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_PrivateKey(context_.get(), key);
    EVP_PKEY_free(key);
    BIO_free(bio);
  }
  std::string wire;
  for (const std::string& protocol : options.alpn)
    wire += static_cast<char>(protocol.size()) + protocol;
  if (!wire.empty())
    SSL_CTX_set_alpn_protos(context_.get(), reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
  ssl_.reset(SSL_new(context_.get()));
  SSL_set_fd(ssl_.get(), peer_.fd());
}

bool TlsPeer::handshake() {
  return tls_call([&] { return SSL_connect(ssl_.get()); }) == 1;
}

bool TlsPeer::send_all(std::string_view bytes) {
  return tls_call([&] {
           return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
         }) == static_cast<int>(bytes.size());
}

std::string TlsPeer::read(std::size_t most) {
  std::string out(most, '\0');
  const int got =
      tls_call([&] { return SSL_read(ssl_.get(), out.data(), static_cast<int>(out.size())); });
  if (got <= 0) closed_ = SSL_get_error(ssl_.get(), got) == SSL_ERROR_ZERO_RETURN;
  out.resize(static_cast<std::size_t>(std::max(got, 0)));
  return out;
}

std::string TlsPeer::recv_exact(std::size_t size) {
  std::string out;
  while (out.size() < size) {
    const std::string more = read(size - out.size());
    if (more.empty()) break;
    out += more;
  }
  return out;
}

std::string TlsPeer::recv_head() {
  std::string out;
  while (!out.ends_with("\r\n\r\n")) {
    const std::string more = read(1);
    if (more.empty()) break;
    out += more;
  }
  return out;
}

std::string TlsPeer::recv_all() {
  std::string out;
  for (;;) {
    const std::string more = read(16384);
    if (more.empty()) return out;
    out += more;
  }
}

void TlsPeer::finish_sending() {
  SSL_shutdown(ssl_.get());
  peer_.finish_sending();
}

std::string TlsPeer::alpn() const {
  const unsigned char* data = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

std::string TlsPeer::server_name() const {
  const auto names = names_in_certificate(SSL_get0_peer_certificate(ssl_.get()));
  return names.empty() ? "" : names.front();
}

}  // namespace oceanid::proxy::test
