#pragma once
// The in-tunnel echo: 64 bytes, or more when it is to show that data-size packets pass, asked and
// answered in the same size. WireGuard has authenticated the sender by its tunnel address, so there
// is no MAC; the nonce ties an answer to a question. Requests and answers differ in type, so two
// responders cannot talk to each other for ever.
//
//   0        4       5      6       7      8          16        24     28     32     48     64
//   | "OCEP" | ver 1 | type | flags | zero | nonce BE | sent BE | word | IPv4 | IPv6 | zero |
//
// Flag 1 of a request is BFD's "I hear you" (RFC 5880 section 6.2 has it as a state): our answers
// arrive. A notice says the opposite of it to one who asked: your requests do not arrive any more.
// Flag 2, in an answer: the sender is an exit and says of itself whether it can serve (byte 24, bit
// 0) and by which addresses it sends its clients' packets on (bits 1 and 2: IPv4, IPv6 are there).
// `sent` belongs to the sender alone (its clock, nanoseconds); the responder returns it untouched.
// Decoding looks at nothing beyond the 64 bytes and allocates nothing.

#include "gateway/base/net_types.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace oceanid::tunnel {

inline constexpr std::size_t probe_packet_size = 64;
using ProbeBytes = std::array<std::uint8_t, probe_packet_size>;

enum class ProbeType : std::uint8_t { request = 1, reply = 2, notice = 3 };

// What an exit says of itself. An address that it does not say is one that it does not know, or
// that a translation beyond it replaces.
struct ExitWord {
  bool serves = false;  // its uplink is up and has an address
  std::optional<IpAddress> ipv4;
  std::optional<IpAddress> ipv6;
  bool operator==(const ExitWord&) const = default;
};
std::string to_string(const ExitWord& word);

struct ProbePacket {
  ProbeType type = ProbeType::request;
  std::uint64_t nonce = 0;
  std::uint64_t sent = 0;
  bool hears_you = false;
  std::optional<ExitWord> word = std::nullopt;  // in an answer
  bool operator==(const ProbePacket&) const = default;
};

ProbeBytes encode(const ProbePacket& packet);
// None for anything shorter or of another magic, version or type; padding is ignored.
std::optional<ProbePacket> decode_probe(std::span<const std::uint8_t> bytes);

}  // namespace oceanid::tunnel
