#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/key_store.hpp"

#include <filesystem>
#include <memory>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

constexpr std::size_t longest_key_file = 256;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.back()))
    text.remove_suffix(1);
  while (!text.empty() && is_space(text.front()))
    text.remove_prefix(1);
  return text;
}

Result<void> check_owner_and_mode(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return fail(Errc::not_found, path + " does not exist");
    return fail_errno("looking at " + path);
  }
  if (!S_ISREG(status.st_mode))
    return fail(Errc::invalid_argument, path + " is not a regular file");
  if (status.st_uid != ::geteuid() && status.st_uid != 0)
    return fail(Errc::permission, path + " belongs to uid " + std::to_string(status.st_uid) +
                                      ", who could read or replace the key; run: chown " +
                                      std::to_string(::geteuid()) + " " + path);
  if ((status.st_mode & 077U) != 0)
    return fail(Errc::permission, path + " is open to its group or others; run: chmod 600 " + path +
                                      " (in Kubernetes: defaultMode: 0400)");
  return {};
}

template <typename Key>
Result<Key> load_secret(const std::string& path, std::string_view kind) {
  if (auto checked = check_owner_and_mode(path); !checked)
    return std::unexpected(std::move(checked.error()));
  auto text = read_small_file(path, longest_key_file);
  if (!text) return std::unexpected(std::move(text.error()));
  auto key = Key::from_base64(trimmed(*text));
  wipe(*text);
  if (!key || key->is_zero())
    return fail(Errc::invalid_argument, path + " holds no " + std::string(kind) +
                                            " key: 44 characters of base64 are expected");
  return *key;
}

}  // namespace

Result<PrivateKey> generate_private_key() {
  KeyBytes bytes{};
  // Below 256 bytes getrandom neither returns less nor is interrupted once the pool is ready.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail_errno("asking the kernel for random bytes");
  bytes[0] &= 248U;
  bytes[31] = static_cast<std::uint8_t>((bytes[31] & 127U) | 64U);
  const PrivateKey key(bytes);
  wipe(bytes);
  return key;
}

Result<PresharedKey> generate_preshared_key() {
  KeyBytes bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail_errno("asking the kernel for random bytes");
  const PresharedKey key(bytes);
  wipe(bytes);
  return key;
}

Result<PublicKey> public_key_of(const PrivateKey& key) {
  const std::unique_ptr<EVP_PKEY, FreeKey> pair(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_X25519, nullptr, key.bytes().data(), key.bytes().size()));
  KeyBytes bytes{};
  std::size_t size = bytes.size();
  if (!pair || EVP_PKEY_get_raw_public_key(pair.get(), bytes.data(), &size) != 1 ||
      size != bytes.size())
    return fail(Errc::io, "OpenSSL cannot derive the public key");
  return PublicKey(bytes);
}

Result<PrivateKey> load_private_key(const std::string& path) {
  return load_secret<PrivateKey>(path, "private");
}

Result<PresharedKey> load_preshared_key(const std::string& path) {
  return load_secret<PresharedKey>(path, "preshared");
}

Result<PrivateKey> load_or_create_private_key(const std::string& path) {
  auto loaded = load_private_key(path);
  if (loaded || loaded.error().code != Errc::not_found) return loaded;
  const auto key = generate_private_key();
  if (!key) return key;
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;  // the file's own error below says more
  if (!folder.empty() && std::filesystem::create_directories(folder, ignored))
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ignored);
  std::string text = key->reveal_base64() + "\n";
  const auto written = write_file_atomically(path, text, 0600, Existing::keep);
  wipe(text);
  // Somebody else was faster: theirs is the key.
  if (!written && written.error().code == Errc::already_exists) return load_private_key(path);
  if (!written) return std::unexpected(written.error());
  return key;
}

}  // namespace oceanid::tunnel
