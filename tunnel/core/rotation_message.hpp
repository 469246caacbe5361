#pragma once
// What two nodes say to each other inside their tunnel while one of them changes its key: one fixed
// packet of 64 bytes to the probe port. WireGuard has authenticated the sender by its tunnel
// address. A question has an answer of its own size, nothing else has one, and the types differ, so
// nothing is amplified and nobody talks for ever.
//
//   0        4       5      6            8              40              64
//   | "OCKR" | ver 1 | type | zero (2 B) | public key   | zero padding  |
//
// Decoding looks at nothing beyond the 64 bytes and allocates nothing.

#include "tunnel/core/key.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace oceanid::tunnel {

inline constexpr std::size_t rotation_message_size = 64;
using RotationBytes = std::array<std::uint8_t, rotation_message_size>;

enum class RotationType : std::uint8_t {
  ask = 1,      // do you know this key as mine?
  unknown = 2,  // answer: no
  ready = 3,    // answer: yes, your devices here wait for it
  turned = 4,   // answer, also unasked: it is in force here
  turning = 5,  // I turn to this key now; look closely
};

struct RotationMessage {
  RotationType type = RotationType::ask;
  PublicKey key;
  bool operator==(const RotationMessage&) const = default;
};

RotationBytes encode(const RotationMessage& message);
// None for any other size, magic, version or type; padding is ignored.
std::optional<RotationMessage> decode_rotation(std::span<const std::uint8_t> bytes);

}  // namespace oceanid::tunnel
