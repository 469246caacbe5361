#include "tunnel/edge/transport_tls.hpp"

#include "gateway/base/net_types.hpp"
#include "gateway/base/tls/pem.hpp"

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

namespace oceanid::tunnel {
namespace {

constexpr std::string_view protocol = "oceanid-tunnel/1";  // ALPN
constexpr std::string_view exporter_label = "EXPORTER-oceanid-tunnel";
constexpr long made_up_lifetime = 10L * 365 * 24 * 3600;
// Several records in one read(2): a bulk transfer's system calls are what the shim costs.
constexpr std::size_t read_buffer = 64U << 10U;

Result<void> show(SSL_CTX* context, const TlsMaterial& material) {
  return use_identity(context, {"tls.certificate", material.certificate},
                      {"tls.key", material.key});
}

// Nobody checks it, it only has to be one. Its name says nothing about us.
Result<void> make_one_up(SSL_CTX* context) {
  const EvpKey key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  std::array<unsigned char, 8> random{};
  if (!key || !certificate || RAND_bytes(random.data(), random.size()) != 1)
    return tls_error("tls", "cannot make a certificate");
  std::uint64_t serial = 0;
  std::memcpy(&serial, random.data(), sizeof serial);
  X509* const x509 = certificate.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial >> 1U);
  X509_gmtime_adj(X509_getm_notBefore(x509), -24L * 3600);
  X509_gmtime_adj(X509_getm_notAfter(x509), made_up_lifetime);
  X509_NAME* const name = X509_get_subject_name(x509);
  const auto* const text = reinterpret_cast<const unsigned char*>("localhost");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0);
  if (X509_set_issuer_name(x509, name) != 1 || X509_set_pubkey(x509, key.get()) != 1 ||
      X509_sign(x509, key.get(), EVP_sha256()) == 0 ||
      SSL_CTX_use_certificate(context, x509) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    return tls_error("tls", "cannot make a certificate");
  return {};
}

Result<void> trust(SSL_CTX* context, const TlsMaterial& material, int mode) {
  if (material.authority.empty()) {
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
    return {};
  }
  auto authorities = certificates_in({"tls: the authority", material.authority});
  if (!authorities) return std::unexpected(std::move(authorities.error()));
  for (const Certificate& authority : *authorities)
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1)
      return tls_error("tls: the authority", "cannot be used");
  SSL_CTX_set_verify(context, mode, nullptr);
  return {};
}

// RFC 7301. Whoever offers something else is not told: it is answered as a client that offers
// nothing, and then says no hello.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  std::string_view list(reinterpret_cast<const char*>(offered), offered_size);
  while (!list.empty()) {
    const std::size_t length = static_cast<unsigned char>(list.front());
    if (length + 1 > list.size()) break;
    if (list.substr(1, length) == protocol) {
      *out = reinterpret_cast<const unsigned char*>(list.data()) + 1;
      *size = static_cast<unsigned char>(length);
      return SSL_TLSEXT_ERR_OK;
    }
    list.remove_prefix(length + 1);
  }
  return SSL_TLSEXT_ERR_NOACK;
}

Result<SslContext> make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  SslContext out(SSL_CTX_new(method));
  if (!out) return tls_error("tls", "OpenSSL gives no context");
  SSL_CTX* const context = out.get();
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context, 1);
  SSL_CTX_set_default_read_buffer_len(context, read_buffer);
  return out;
}

Result<Ssl> on_socket(SSL_CTX* context, int fd) {
  Ssl out(SSL_new(context));
  if (!out || SSL_set_fd(out.get(), fd) != 1)
    return tls_error("tls", "OpenSSL gives no connection");
  return out;
}

}  // namespace

Result<SslContext> make_accepting_context(const TlsMaterial& material) {
  auto out = make_context(TLS_server_method());
  if (!out) return out;
  auto done = material.certificate.empty() ? make_one_up(out->get()) : show(out->get(), material);
  if (done) done = trust(out->get(), material, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
  if (!done) return std::unexpected(std::move(done.error()));
  SSL_CTX_set_alpn_select_cb(out->get(), choose_protocol, nullptr);
  return out;
}

Result<SslContext> make_dialling_context(const TlsMaterial& material) {
  auto out = make_context(TLS_client_method());
  if (!out) return out;
  Result<void> done;
  if (!material.certificate.empty()) done = show(out->get(), material);
  if (done) done = trust(out->get(), material, SSL_VERIFY_PEER);
  if (!done) return std::unexpected(std::move(done.error()));
  std::string list(1, static_cast<char>(protocol.size()));
  list += protocol;
  // 0 is success here.
  if (SSL_CTX_set_alpn_protos(out->get(), reinterpret_cast<const unsigned char*>(list.data()),
                              static_cast<unsigned>(list.size())) != 0)
    return tls_error("tls", "OpenSSL does not take our protocol's name");
  return out;
}

Result<Ssl> accepting(SSL_CTX* context, int fd) {
  auto out = on_socket(context, fd);
  if (out) SSL_set_accept_state(out->get());
  return out;
}

Result<Ssl> dialling(SSL_CTX* context, int fd, const std::string& host) {
  auto out = on_socket(context, fd);
  if (!out) return out;
  SSL* const ssl = out->get();
  SSL_set_connect_state(ssl);
  if (IpAddress::parse(host)) {  // RFC 6066 section 3: no addresses in server_name
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
  } else if (SSL_set_tlsext_host_name(ssl, host.c_str()) != 1 ||
             SSL_set1_host(ssl, host.c_str()) != 1) {
    return tls_error("\"" + host + "\"", "cannot be a server's name");
  }
  return out;
}

std::optional<Exported> exported_of(SSL* ssl) {
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &chosen, &size);
  if (std::string_view(reinterpret_cast<const char*>(chosen), size) != protocol)
    return std::nullopt;
  Exported out{};
  if (SSL_export_keying_material(ssl, out.data(), out.size(), exporter_label.data(),
                                 exporter_label.size(), nullptr, 0, 0) != 1)
    return std::nullopt;
  return out;
}

}  // namespace oceanid::tunnel
