#pragma once
// WireGuard's three kinds of 32-byte keys as types that cannot be mixed up. Public keys print;
// secret keys (private, preshared) have no to_string, only the explicit reveal_*(), compare in
// constant time and wipe their memory when they die. Plain values, any thread. Base64 is RFC 4648
// with padding, hex is lower case as WireGuard's UAPI writes it; both are parsed strictly (one
// spelling for one key).

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

inline constexpr std::size_t key_bytes = 32;
using KeyBytes = std::array<std::uint8_t, key_bytes>;

class PublicKey {
 public:
  PublicKey() = default;
  explicit PublicKey(const KeyBytes& bytes) : bytes_(bytes) {}
  static std::optional<PublicKey> from_base64(std::string_view text);
  static std::optional<PublicKey> from_hex(std::string_view text);

  const KeyBytes& bytes() const { return bytes_; }
  std::string to_base64() const;
  std::string to_hex() const;
  std::string brief() const;  // the first eight characters, for log lines

  auto operator<=>(const PublicKey&) const = default;

 private:
  KeyBytes bytes_{};
};

// What private and preshared keys have in common; the tag keeps them apart.
template <typename Tag>
class SecretKey {
 public:
  SecretKey() = default;  // all zero: "no key" in WireGuard's language
  explicit SecretKey(const KeyBytes& bytes) : bytes_(bytes) {}
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;
  ~SecretKey();
  static std::optional<SecretKey> from_base64(std::string_view text);
  static std::optional<SecretKey> from_hex(std::string_view text);

  const KeyBytes& bytes() const { return bytes_; }
  bool is_zero() const;
  std::string reveal_base64() const;
  std::string reveal_hex() const;

  bool operator==(const SecretKey& other) const;  // in constant time

 private:
  KeyBytes bytes_{};
};

struct PrivateTag {};
struct PresharedTag {};
struct TransportTag {};
using PrivateKey = SecretKey<PrivateTag>;
using PresharedKey = SecretKey<PresharedTag>;
// What two peers prove to each other outside of WireGuard; see edge/transport_keys.hpp.
using TransportKey = SecretKey<TransportTag>;

// Overwrites memory in a way that the optimiser may not drop.
void wipe(std::span<std::uint8_t> memory);
void wipe(std::string& text);

}  // namespace oceanid::tunnel
