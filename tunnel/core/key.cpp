#include "tunnel/core/key.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::string_view base64_digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::size_t base64_chars = 44;  // 43 digits and one '='

std::string encode_base64(const KeyBytes& bytes) {
  std::string out;
  out.reserve(base64_chars);
  std::uint32_t bits = 0;
  unsigned held = 0;
  for (const std::uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    held += 8;
    while (held >= 6) {
      held -= 6;
      out += base64_digits[(bits >> held) & 63U];
    }
  }
  out += base64_digits[(bits << (6 - held)) & 63U];  // 256 bits leave four over
  out += '=';
  return out;
}

std::optional<KeyBytes> decode_base64(std::string_view text) {
  if (text.size() != base64_chars || text.back() != '=') return std::nullopt;
  KeyBytes bytes{};
  std::uint32_t bits = 0;
  unsigned held = 0;
  std::size_t written = 0;
  for (const char digit : text.substr(0, base64_chars - 1)) {
    const std::size_t value = base64_digits.find(digit);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes[written++] = static_cast<std::uint8_t>((bits >> held) & 0xffU);
  }
  // The two bits left over must be zero, or one key would have four spellings.
  if ((bits & ((1U << held) - 1U)) != 0) return std::nullopt;
  return bytes;
}

std::string encode_hex(const KeyBytes& bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    out += hex_digits[byte >> 4U];
    out += hex_digits[byte & 15U];
  }
  return out;
}

std::optional<KeyBytes> decode_hex(std::string_view text) {
  if (text.size() != key_bytes * 2) return std::nullopt;
  KeyBytes bytes{};
  for (std::size_t i = 0; i < key_bytes; ++i) {
    const std::size_t high = hex_digits.find(text[2 * i]);
    const std::size_t low = hex_digits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    bytes[i] = static_cast<std::uint8_t>((high << 4U) | low);
  }
  return bytes;
}

}  // namespace

void wipe(std::span<std::uint8_t> memory) {
  volatile std::uint8_t* at = memory.data();
  for (std::size_t i = 0; i < memory.size(); ++i)
    at[i] = 0;
}

void wipe(std::string& text) {
  volatile char* at = text.data();
  for (std::size_t i = 0; i < text.size(); ++i)
    at[i] = 0;
  text.clear();
}

std::optional<PublicKey> PublicKey::from_base64(std::string_view text) {
  const auto bytes = decode_base64(text);
  if (!bytes) return std::nullopt;
  return PublicKey(*bytes);
}

std::optional<PublicKey> PublicKey::from_hex(std::string_view text) {
  const auto bytes = decode_hex(text);
  if (!bytes) return std::nullopt;
  return PublicKey(*bytes);
}

std::string PublicKey::to_base64() const {
  return encode_base64(bytes_);
}
std::string PublicKey::to_hex() const {
  return encode_hex(bytes_);
}
std::string PublicKey::brief() const {
  return to_base64().substr(0, 8);
}

template <typename Tag>
SecretKey<Tag>::~SecretKey() {
  wipe(bytes_);
}

template <typename Tag>
std::optional<SecretKey<Tag>> SecretKey<Tag>::from_base64(std::string_view text) {
  auto bytes = decode_base64(text);
  if (!bytes) return std::nullopt;
  SecretKey key(*bytes);
  wipe(*bytes);
  return key;
}

template <typename Tag>
std::optional<SecretKey<Tag>> SecretKey<Tag>::from_hex(std::string_view text) {
  auto bytes = decode_hex(text);
  if (!bytes) return std::nullopt;
  SecretKey key(*bytes);
  wipe(*bytes);
  return key;
}

template <typename Tag>
bool SecretKey<Tag>::is_zero() const {
  return *this == SecretKey();
}

template <typename Tag>
std::string SecretKey<Tag>::reveal_base64() const {
  return encode_base64(bytes_);
}

template <typename Tag>
std::string SecretKey<Tag>::reveal_hex() const {
  return encode_hex(bytes_);
}

template <typename Tag>
bool SecretKey<Tag>::operator==(const SecretKey& other) const {
  unsigned difference = 0;
  for (std::size_t i = 0; i < key_bytes; ++i)
    difference |= static_cast<unsigned>(bytes_[i] ^ other.bytes_[i]);
  return difference == 0;
}

template class SecretKey<PrivateTag>;
template class SecretKey<PresharedTag>;
template class SecretKey<TransportTag>;

}  // namespace oceanid::tunnel
