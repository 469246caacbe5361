#pragma once
// The in-tunnel echo: 64 bytes, or more when it is to show that data-size packets pass, asked and
// answered in the same size. WireGuard has authenticated the sender by its tunnel address, so there
// is no MAC; the nonce ties an answer to a question. Requests and answers differ in type, so two
// responders cannot talk to each other for ever.
//
//   0        4       5      6            8          16        24              64
//   | "OCEP" | ver 1 | type | zero (2 B) | nonce BE | sent BE | zero padding  |
//
// `sent` belongs to the sender alone (its clock, nanoseconds); the responder returns it untouched.
// Decoding looks at nothing beyond the 64 bytes and allocates nothing.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace oceanid::tunnel {

inline constexpr std::size_t probe_packet_size = 64;
using ProbeBytes = std::array<std::uint8_t, probe_packet_size>;

enum class ProbeType : std::uint8_t { request = 1, reply = 2 };

struct ProbePacket {
  ProbeType type = ProbeType::request;
  std::uint64_t nonce = 0;
  std::uint64_t sent = 0;
  bool operator==(const ProbePacket&) const = default;
};

ProbeBytes encode(const ProbePacket& packet);
// None for anything shorter or of another magic, version or type; padding is ignored.
std::optional<ProbePacket> decode_probe(std::span<const std::uint8_t> bytes);

}  // namespace oceanid::tunnel
