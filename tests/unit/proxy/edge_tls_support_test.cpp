#include "tests/unit/proxy/edge_tls_support.hpp"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace oceanid::proxy::test {
namespace {

template <class Write>
std::string pem_of(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

std::string pem(X509* certificate) {
  return pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
}

void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* fresh(const std::string& name, long serial, EVP_PKEY* key) {
  X509* out = X509_new();
  X509_set_version(out, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(out), serial);
  X509_gmtime_adj(X509_getm_notBefore(out), -3600);
  X509_gmtime_adj(X509_getm_notAfter(out), 3600);
  X509_set_pubkey(out, key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(out), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.data()),
                             static_cast<int>(name.size()), -1, 0);
  return out;
}

}  // namespace

TestAuthority::TestAuthority(const std::string& name)
    : key_(EVP_EC_gen("P-256")), self_(fresh(name, 1, key_)) {
  X509_set_issuer_name(self_, X509_get_subject_name(self_));
  add_extension(self_, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(self_, NID_key_usage, "keyCertSign,cRLSign");
  X509_sign(self_, key_, EVP_sha256());
  pem_ = pem(self_);
}

TestAuthority::~TestAuthority() {
  X509_free(self_);
  EVP_PKEY_free(key_);
}

Pem TestAuthority::issue(const std::string& common_name, const std::string& alternative,
                         long serial) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = fresh(common_name, serial, key);
  X509_set_issuer_name(certificate, X509_get_subject_name(self_));
  if (!alternative.empty()) add_extension(certificate, NID_subject_alt_name, alternative);
  X509_sign(certificate, key_, EVP_sha256());
  Pem out;
  out.certificate = pem(certificate);
  out.key = pem_of(
      [&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

std::string TestAuthority::revoke(const std::vector<long>& serials) {
  X509_CRL* crl = X509_CRL_new();
  X509_CRL_set_version(crl, 1);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(self_));
  ASN1_TIME* time = ASN1_TIME_new();
  X509_gmtime_adj(time, -3600);
  X509_CRL_set1_lastUpdate(crl, time);
  X509_gmtime_adj(time, 3600);
  X509_CRL_set1_nextUpdate(crl, time);
  X509_gmtime_adj(time, -60);
  for (const long serial : serials) {
    X509_REVOKED* one = X509_REVOKED_new();
    ASN1_INTEGER* number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(one, number);
    X509_REVOKED_set_revocationDate(one, time);
    X509_CRL_add0_revoked(crl, one);
    ASN1_INTEGER_free(number);
  }
  X509_CRL_sort(crl);
  X509_CRL_sign(crl, key_, EVP_sha256());
  const std::string out = pem_of([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, crl); });
  ASN1_TIME_free(time);
  X509_CRL_free(crl);
  return out;
}

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
