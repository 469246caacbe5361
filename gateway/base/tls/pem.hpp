#pragma once
// Certificates and keys in PEM (RFC 7468) as an operator hands them over, for the proxy's listeners
// and the tunnels' TLS transport. Only memory is read. Errors begin with the name that the text was
// given, a file or a key of the configuration, and end with OpenSSL's reason where it has one.
// Any thread; OpenSSL's error queue is the calling thread's, and empty afterwards.

#include "gateway/base/error.hpp"
#include "gateway/base/tls/openssl.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace oceanid {

struct PemText {
  std::string name;  // for messages
  std::string text;
};

// What OpenSSL says of the last failure; clears its queue. May be empty.
std::string tls_error_text();
// NAME: WHAT (OpenSSL's reason)
std::unexpected<Error> tls_error(std::string_view name, std::string_view what);

Bio pem_reader(const std::string& text);  // `text` must outlive it
// For OpenSSL's readers, which would ask for a passphrase on the terminal.
int no_passphrase(char*, int, int, void*);
// A reader has come to the end of the text, not to something broken in it.
bool pem_ended();

// At least one; a broken one spoils all.
Result<std::vector<Certificate>> certificates_in(const PemText& pem);

// The chain, its first certificate our own, and the private key of that one.
Result<void> use_identity(SSL_CTX* context, const PemText& chain, const PemText& key);

}  // namespace oceanid
