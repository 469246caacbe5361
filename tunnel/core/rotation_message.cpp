#include "tunnel/core/rotation_message.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, 4> magic{'O', 'C', 'K', 'R'};
constexpr std::uint8_t version = 1;
constexpr std::size_t key_at = 8;

}  // namespace

RotationBytes encode(const RotationMessage& message) {
  RotationBytes bytes{};
  std::ranges::copy(magic, bytes.begin());
  bytes[4] = version;
  bytes[5] = static_cast<std::uint8_t>(message.type);
  std::ranges::copy(message.key.bytes(), bytes.begin() + key_at);
  return bytes;
}

std::optional<RotationMessage> decode_rotation(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != rotation_message_size) return std::nullopt;
  if (!std::ranges::equal(bytes.first(magic.size()), magic) || bytes[4] != version)
    return std::nullopt;
  if (bytes[5] < static_cast<std::uint8_t>(RotationType::ask) ||
      bytes[5] > static_cast<std::uint8_t>(RotationType::turning))
    return std::nullopt;
  KeyBytes key{};
  std::ranges::copy(bytes.subspan(key_at, key.size()), key.begin());
  return RotationMessage{static_cast<RotationType>(bytes[5]), PublicKey(key)};
}

}  // namespace oceanid::tunnel
