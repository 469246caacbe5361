#pragma once
// Keys on disk and from the kernel's random source. Key files hold one base64 key and a newline, as
// `wg` writes them, and must belong to us (or root) with no permission for anybody else; anything
// looser is refused with the command that repairs it. Synchronous.

#include "gateway/base/error.hpp"
#include "tunnel/core/key.hpp"

#include <string>

namespace oceanid::tunnel {

Result<PrivateKey>
generate_private_key();  // getrandom, clamped as X25519 wants (RFC 7748 section 5)
Result<PublicKey> public_key_of(const PrivateKey& key);

// Creates it (mode 0600, atomically, folder 0700) when it does not exist.
Result<PrivateKey> load_or_create_private_key(const std::string& path);
Result<PrivateKey> load_private_key(const std::string& path);
Result<PresharedKey> load_preshared_key(const std::string& path);

}  // namespace oceanid::tunnel
