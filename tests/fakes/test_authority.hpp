#pragma once
// Certificates made on the spot: no key lies in the repository, and none expires.

#include <string>
#include <vector>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace oceanid::fakes {

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

namespace detail {

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

inline std::string pem(X509* certificate) {
  return pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, certificate); });
}

inline void add_extension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

inline X509* fresh(const std::string& name, long serial, EVP_PKEY* key) {
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

}  // namespace detail

inline TestAuthority::TestAuthority(const std::string& name)
    : key_(EVP_EC_gen("P-256")), self_(detail::fresh(name, 1, key_)) {
  X509_set_issuer_name(self_, X509_get_subject_name(self_));
  detail::add_extension(self_, NID_basic_constraints, "critical,CA:TRUE");
  detail::add_extension(self_, NID_key_usage, "keyCertSign,cRLSign");
  X509_sign(self_, key_, EVP_sha256());
  pem_ = detail::pem(self_);
}

inline TestAuthority::~TestAuthority() {
  X509_free(self_);
  EVP_PKEY_free(key_);
}

inline Pem TestAuthority::issue(const std::string& common_name, const std::string& alternative,
                                long serial) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = detail::fresh(common_name, serial, key);
  X509_set_issuer_name(certificate, X509_get_subject_name(self_));
  if (!alternative.empty()) detail::add_extension(certificate, NID_subject_alt_name, alternative);
  X509_sign(certificate, key_, EVP_sha256());
  Pem out;
  out.certificate = detail::pem(certificate);
  out.key = detail::pem_of(
      [&](BIO* bio) { PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr); });
  X509_free(certificate);
  EVP_PKEY_free(key);
  return out;
}

inline std::string TestAuthority::revoke(const std::vector<long>& serials) {
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
  const std::string out = detail::pem_of([&](BIO* bio) { PEM_write_bio_X509_CRL(bio, crl); });
  ASN1_TIME_free(time);
  X509_CRL_free(crl);
  return out;
}

}  // namespace oceanid::fakes
