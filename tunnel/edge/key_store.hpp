#pragma once
// Keys on disk and from the kernel's random source. Key files hold one base64 key and a newline, as
// `wg` writes them, and must belong to us (or root) with no permission for anybody else; anything
// looser is refused with the command that repairs it. Synchronous.

#include "gateway/base/error.hpp"
#include "tunnel/core/key.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace oceanid::tunnel {

Result<PrivateKey>
generate_private_key();  // getrandom, clamped as X25519 wants (RFC 7748 section 5)
Result<PublicKey> public_key_of(const PrivateKey& key);

// Creates it (mode 0600, atomically, folder 0700) when it does not exist.
Result<PrivateKey> load_or_create_private_key(const std::string& path);
Result<PrivateKey> load_private_key(const std::string& path);
Result<PresharedKey> load_preshared_key(const std::string& path);
Result<PresharedKey> generate_preshared_key();

// The three names of a rotation, beside each other. Every step is atomic: a crash between any two
// leaves a key in force, and the next start goes on from what it finds.
std::string next_key_path(const std::string& path);    // PATH.next: prepared
std::string former_key_path(const std::string& path);  // PATH.old: in force before
// PATH → PATH.old, PATH.next → PATH.
Result<void> promote_next_key(const std::string& path);
// PATH → PATH.next, PATH.old → PATH.
Result<void> restore_former_key(const std::string& path);
Result<void> remove_key(const std::string& path);  // ok when there is none
// When the key was made; none: it cannot be told.
std::optional<std::chrono::system_clock::time_point> key_born(const std::string& path);

}  // namespace oceanid::tunnel
