#include "proxy/edge/tls_context.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/tls/pem.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace oceanid::proxy {
namespace {

// TLS 1.2's; TLS 1.3's own are all sane. ECDHE for forward secrecy, AEAD only.
constexpr const char* ciphers_tls12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::size_t max_names = 64;
constexpr std::size_t max_name = 255;
constexpr unsigned char alpn_http11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

using Crl = std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, FreeWith<GENERAL_NAMES_free>>;

Result<PemText> pem_of(const Secrets& secrets, const std::string& path) {
  const auto found = secrets.find(path);
  if (found == secrets.end())
    return fail(Errc::not_found, path + ": its contents were not handed over");
  return PemText{path, found->second};
}

Result<void> use_chain(SSL_CTX* context, const ListenerTls& tls, const Secrets& secrets) {
  const auto chain = pem_of(secrets, tls.certificate);
  if (!chain) return std::unexpected(chain.error());
  const auto key = pem_of(secrets, tls.key);
  if (!key) return std::unexpected(key.error());
  return use_identity(context, *chain, *key);
}

Result<void> use_crl(X509_STORE* store, const std::string& path, const Secrets& secrets) {
  const auto pem = pem_of(secrets, path);
  if (!pem) return std::unexpected(pem.error());
  const Bio bio = pem_reader(pem->text);
  bool any = false;
  while (const Crl crl{PEM_read_bio_X509_CRL(bio.get(), nullptr, no_passphrase, nullptr)}) {
    any = true;
    if (X509_STORE_add_crl(store, crl.get()) != 1) return tls_error(path, "cannot be used");
  }
  if (!any || !pem_ended()) return tls_error(path, "holds no usable PEM revocation list");
  ERR_clear_error();
  // A client's own certificate; its authorities are the operator's choice. An expired list fails
  // closed.
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return {};
}

Result<void> ask_clients(SSL_CTX* context, const ListenerTls& tls, const Secrets& secrets) {
  const auto pem = pem_of(secrets, *tls.client_ca);
  if (!pem) return std::unexpected(pem.error());
  auto authorities = certificates_in(*pem);
  if (!authorities) return std::unexpected(std::move(authorities.error()));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const Certificate& authority : *authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1)
      return tls_error(*tls.client_ca, "cannot be used");
  }
  if (tls.crl)
    if (auto done = use_crl(store, *tls.crl, secrets); !done) return done;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  // A resumed session would carry a certificate past its revocation.
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 0);
  return {};
}

// "http 1.1" and "http/1.0": spellings of clients that speak HTTP/1.1 (https-proxy-agent of Node).
bool means_http1(const unsigned char* offered, unsigned int size) {
  const std::string_view list(reinterpret_cast<const char*>(offered), size);
  return list.find("\x08http 1.1") != std::string_view::npos ||
         list.find("\x08http/1.0") != std::string_view::npos;
}

// RFC 7301: a client that offers protocols, but not ours, is told so rather than misunderstood.
int choose_http11(SSL*, const unsigned char** out, unsigned char* size,
                  const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, alpn_http11, sizeof alpn_http11, offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED)
    return means_http1(offered, offered_size) ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

void add_name(std::vector<std::string>& out, const ASN1_STRING* text) {
  if (text == nullptr) return;
  const std::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                               static_cast<std::size_t>(ASN1_STRING_length(text)));
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (bytes.empty() || bytes.size() > max_name || out.size() >= max_names) return;
  // A CN may hold spaces inside ("Jane Doe"), never control bytes or NUL ("good\0evil").
  if (!std::ranges::all_of(bytes, [&](char c) { return c == ' ' || printable(c); })) return;
  if (std::ranges::find(out, bytes) == out.end()) out.emplace_back(bytes);
}

}  // namespace

Result<SslContext> make_tls_context(const ListenerSettings& listener, const Secrets& secrets) {
  const ListenerTls& tls = *listener.tls;
  ERR_clear_error();
  SslContext out(SSL_CTX_new(TLS_server_method()));
  if (!out) return tls_error(tls.certificate, "OpenSSL gives no context");
  SSL_CTX* context = out.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context, ciphers_tls12);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  // Idle connections hold no record buffers; what could not be written may move meanwhile.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_read_ahead(context, 0);
  if (listener.protocol == ListenerProtocol::http)
    SSL_CTX_set_alpn_select_cb(context, choose_http11, nullptr);
  if (auto done = use_chain(context, tls, secrets); !done)
    return std::unexpected(std::move(done.error()));
  if (tls.client_ca)
    if (auto done = ask_clients(context, tls, secrets); !done)
      return std::unexpected(std::move(done.error()));
  return out;
}

void TlsContexts::apply(const Runtime& runtime) {
  static const Secrets none;
  std::map<SocketAddress, Entry> fresh;
  const bool same_files = secrets_ == runtime.secrets;
  for (const ListenerSettings& listener : runtime.proxy->listeners) {
    if (!listener.tls) continue;
    auto before = entries_.extract(listener.bind);
    if (before && same_files && before.mapped().listener == listener) {
      fresh.insert(std::move(before));
      continue;
    }
    auto made = make_tls_context(listener, runtime.secrets ? *runtime.secrets : none);
    if (made) {
      fresh.emplace(listener.bind, Entry{listener, std::move(*made)});
      continue;
    }
    log::error("proxy", "a listener's TLS cannot be set up",
               {{"listener", listener.bind.to_string()}, {"error", made.error().what}});
    if (before) fresh.insert(std::move(before));
  }
  entries_ = std::move(fresh);
  secrets_ = runtime.secrets;
}

SSL_CTX* TlsContexts::find(const SocketAddress& bind) const {
  const auto found = entries_.find(bind);
  return found == entries_.end() ? nullptr : found->second.context.get();
}

std::vector<std::string> names_in_certificate(X509* certificate) {
  std::vector<std::string> out;
  if (certificate == nullptr) return out;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, NID_commonName, i)) >= 0;)
    add_name(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
  const Names names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) add_name(out, name->d.dNSName);
    if (name->type == GEN_EMAIL) add_name(out, name->d.rfc822Name);
    if (name->type == GEN_URI) add_name(out, name->d.uniformResourceIdentifier);
  }
  return out;
}

}  // namespace oceanid::proxy
