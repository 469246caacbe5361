#include "gateway/base/tls/pem.hpp"

#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>

namespace oceanid {

std::string tls_error_text() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  std::string out = reason == nullptr ? "" : reason;
  ERR_clear_error();
  return out;
}

std::unexpected<Error> tls_error(std::string_view name, std::string_view what) {
  const std::string why = tls_error_text();
  return fail(Errc::invalid_argument,
              std::string(name) + ": " + std::string(what) + (why.empty() ? "" : " (" + why + ")"));
}

Bio pem_reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

int no_passphrase(char*, int, int, void*) {
  return 0;
}

bool pem_ended() {
  return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

Result<std::vector<Certificate>> certificates_in(const PemText& pem) {
  const Bio bio = pem_reader(pem.text);
  std::vector<Certificate> out;
  while (Certificate one{PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr)})
    out.push_back(std::move(one));
  if (out.empty()) return tls_error(pem.name, "holds no PEM certificate");
  if (!pem_ended()) return tls_error(pem.name, "holds a broken certificate");
  ERR_clear_error();
  return out;
}

Result<void> use_identity(SSL_CTX* context, const PemText& chain, const PemText& key) {
  auto certificates = certificates_in(chain);
  if (!certificates) return std::unexpected(std::move(certificates.error()));
  if (SSL_CTX_use_certificate(context, certificates->front().get()) != 1)
    return tls_error(chain.name, "its first certificate cannot be used");
  for (std::size_t i = 1; i < certificates->size(); ++i)
    if (SSL_CTX_add1_chain_cert(context, (*certificates)[i].get()) != 1)
      return tls_error(chain.name, "a certificate of its chain cannot be used");
  const EvpKey secret(
      PEM_read_bio_PrivateKey(pem_reader(key.text).get(), nullptr, no_passphrase, nullptr));
  if (!secret) return tls_error(key.name, "holds no PEM private key without a passphrase");
  if (SSL_CTX_use_PrivateKey(context, secret.get()) != 1 || SSL_CTX_check_private_key(context) != 1)
    return tls_error(key.name, "is not the key of " + chain.name);
  return {};
}

}  // namespace oceanid
