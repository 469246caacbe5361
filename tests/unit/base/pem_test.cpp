#include "gateway/base/tls/pem.hpp"

#include <string>

#include <gmock/gmock.h>
#include <openssl/err.h>
#include <openssl/pem.h>

namespace oceanid {
namespace {

using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

struct Identity {
  EvpKey key{EVP_EC_gen("P-256")};
  std::string certificate;
  std::string key_text;

  Identity() {
    const Certificate made(X509_new());
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_set_pubkey(made.get(), key.get());
    EXPECT_GT(X509_sign(made.get(), key.get(), EVP_sha256()), 0);
    const Bio out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), made.get());
    certificate = text_of(out.get());
    const Bio secret(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    key_text = text_of(secret.get());
  }
};

TEST(Pem, AChainIsReadToItsEnd) {
  const Identity one;
  const Identity other;
  const auto chain = certificates_in({"c.pem", "a remark\n" + one.certificate + other.certificate});
  ASSERT_TRUE(chain) << chain.error().what;
  EXPECT_THAT(*chain, SizeIs(2));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

// Else a chain would be shown that ends early, and nobody but its clients would know.
TEST(Pem, ABrokenCertificateSpoilsTheChain) {
  const Identity one;
  const auto broken = certificates_in({"c.pem", one.certificate + one.certificate.substr(0, 200)});
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().what, StartsWith("c.pem: holds a broken certificate"));
  const auto none = certificates_in({"c.pem", "nothing"});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().what, StartsWith("c.pem: holds no PEM certificate"));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(Pem, AnIdentityIsACertificateAndItsOwnKey) {
  const Identity one;
  const Identity other;
  const auto use = [](const std::string& chain, const std::string& key) {
    const SslContext context(SSL_CTX_new(TLS_server_method()));
    return use_identity(context.get(), {"c.pem", chain}, {"k.pem", key});
  };
  EXPECT_TRUE(use(one.certificate + other.certificate, one.key_text));
  const auto wrong = use(one.certificate, other.key_text);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().what, StartsWith("k.pem: is not the key of c.pem"));
  const auto missing = use(one.certificate, one.certificate);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().what, HasSubstr("holds no PEM private key"));
  EXPECT_THAT(missing.error().what, testing::Not(HasSubstr(one.certificate)));
}

TEST(Pem, AKeyWithAPassphraseIsRefusedWithoutAsking) {
  const Identity one;
  const Bio out(BIO_new(BIO_s_mem()));
  unsigned char passphrase[] = "secret";
  ASSERT_EQ(PEM_write_bio_PrivateKey(out.get(), one.key.get(), EVP_aes_128_cbc(), passphrase, 6,
                                     nullptr, nullptr),
            1);
  const SslContext context(SSL_CTX_new(TLS_server_method()));
  const auto locked =
      use_identity(context.get(), {"c.pem", one.certificate}, {"k.pem", text_of(out.get())});
  ASSERT_FALSE(locked);
  EXPECT_THAT(locked.error().what,
              StartsWith("k.pem: holds no PEM private key without a passphrase"));
}

}  // namespace
}  // namespace oceanid
