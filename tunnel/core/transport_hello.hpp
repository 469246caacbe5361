#pragma once
// The first frame that each side of a TLS connection sends, and the probe that asks whether UDP
// passes. Both prove knowledge of a key that only the two peers can compute (from their WireGuard
// keys, see edge/transport_keys.hpp); the codecs here lay out the bytes, the MACs come from
// outside.
//
//   hello   0        4       5      6          8            24        56
//           | "OCTR" | ver 1 | kind | zero (2) | session id | MAC (32) |
//
// The session id, chosen by who dials, ties the connections of one tunnel together. The MAC covers
// TLS's exported keying material and the 24 bytes before it: it is worth nothing in any other TLS
// connection, so whoever ends TLS in the middle cannot pass it on, and no certificate is needed.
//
//   probe   0        4       5      6          8       16         32              64
//           | "OCUR" | ver 1 | type | zero (2) | nonce | MAC (16) | zero padding   |
//
// An answer is as long as its question, and differs from it in type and MAC.

#include "tunnel/core/frame_codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace oceanid::tunnel {

inline constexpr std::size_t hello_bytes = 56;
inline constexpr std::size_t hello_covered = 24;  // by the MAC
inline constexpr std::size_t session_id_bytes = 16;
inline constexpr std::size_t hello_mac_bytes = 32;

using SessionId = std::array<std::uint8_t, session_id_bytes>;
using HelloMac = std::array<std::uint8_t, hello_mac_bytes>;
using HelloBytes = std::array<std::uint8_t, hello_bytes>;

enum class HelloKind : std::uint8_t { dialled = 1, accepted = 2 };

struct Hello {
  HelloKind kind = HelloKind::dialled;
  SessionId session{};
  HelloMac mac{};
  bool operator==(const Hello&) const = default;
};

HelloBytes encode(const Hello& hello);
std::optional<Hello> decode_hello(ByteSpan bytes);  // none: of any other form

inline constexpr std::size_t reach_bytes = 64;
inline constexpr std::size_t reach_covered = 16;
inline constexpr std::size_t reach_mac_bytes = 16;

using ReachMac = std::array<std::uint8_t, reach_mac_bytes>;
using ReachBytes = std::array<std::uint8_t, reach_bytes>;

// The first four bytes of every probe, which the far side's packet filter knows it by.
inline constexpr std::uint32_t reach_magic = 0x4f435552;

enum class ReachType : std::uint8_t { question = 1, answer = 2 };

struct ReachProbe {
  ReachType type = ReachType::question;
  std::uint64_t nonce = 0;
  ReachMac mac{};
  bool operator==(const ReachProbe&) const = default;
};

ReachBytes encode(const ReachProbe& probe);
std::optional<ReachProbe> decode_reach(ByteSpan bytes);

}  // namespace oceanid::tunnel
