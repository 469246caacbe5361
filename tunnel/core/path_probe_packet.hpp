#pragma once
// The probe of the outer path: a UDP datagram whose first 80 bytes say everything and whose rest is
// padding that nobody reads. A question may have any size; an answer is exactly 80 bytes, so never
// larger than the question. Sessions are random numbers, one for each life of an end: an answer
// that names our session and a number that we sent is no replay, and a question that names our
// session is younger than we are.
//
//   0        4       5      6          8            16        24          32          40
//   | "OCMP" | ver 1 | type | ack size | recipient  | session | to session | number   |
//   40             48         50        52         54      56          64        80
//   | acked number | size     | report  | applied  | zero  | sent      | HMAC     |
//
// All numbers are big endian. `recipient` names the pair of keys, the direction and the role, so
// that a packet thrown back at its sender is not taken for the other end's. `size` is the whole IP
// packet as it was sent: one that arrives with another size was cut or padded on the way. `report`
// is the largest size that is known to pass in the sender's direction, `applied` the MTU inside the
// tunnel that it uses; 0: nothing yet. `sent` is the sender's clock in nanoseconds, for captures
// only. The MAC is HMAC-SHA256 (RFC 2104) over the 64 bytes before it, cut to 16.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "tunnel/core/key.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace oceanid::tunnel {

inline constexpr std::size_t path_probe_size = 80;
using PathProbeBytes = std::array<std::uint8_t, path_probe_size>;

enum class PathProbeType : std::uint8_t { question = 1, answer = 2 };

struct PathProbePacket {
  PathProbeType type = PathProbeType::question;
  std::uint16_t acked_size = 0;  // answers: of the question, as it arrived
  std::uint64_t recipient = 0;
  std::uint64_t session = 0;
  std::uint64_t to_session = 0;  // 0: not known yet
  std::uint64_t number = 0;
  std::uint64_t acked = 0;  // answers: the question's number
  std::uint16_t size = 0;
  std::uint16_t report = 0;
  std::uint16_t applied = 0;
  std::uint64_t sent = 0;
  bool operator==(const PathProbePacket&) const = default;
};

// The dialler's packets and the responder's are told apart: both ends may dial each other.
enum class PathProbeRole : std::uint8_t { dialler, responder };

// What two peers share. Derived from their static keys (X25519) and, where there is one, the
// preshared key, under a label of its own: what it authenticates says nothing about WireGuard's.
class PathProbeKey {
 public:
  static Result<PathProbeKey> derive(const PrivateKey& own, const PublicKey& peer,
                                     const std::optional<PresharedKey>& preshared);

  // Of the packets that the end in this role sends to the other.
  std::uint64_t recipient_of(PathProbeRole sender) const;
  std::uint64_t recipient_for(PathProbeRole us) const;  // of those that we are to take
  PathProbeBytes seal(const PathProbePacket& packet) const;
  // None: not a packet of this key, whatever else it is.
  std::optional<PathProbePacket> open(std::span<const std::uint8_t> bytes) const;

 private:
  PathProbeKey() = default;
  PrivateKey secret_;  // wiped with us
  PublicKey own_;
  PublicKey peer_;
};

// Whose key to try. None: too short, or not of this protocol. Allocates nothing, trusts nothing.
std::optional<std::uint64_t> path_probe_recipient(std::span<const std::uint8_t> bytes);

}  // namespace oceanid::tunnel
