#pragma once
// MTU arithmetic of WireGuard. Bytes everywhere. The encapsulation costs the outer IP header, 8
// bytes of UDP and 32 of WireGuard's data message; plaintext is padded to 16, so an inner MTU that
// is no multiple of 16 wastes or overflows the last block (Cilium had to raise its overhead from 80
// to 95 for this). Hence only outer sizes of 60+16k (IPv4) or 80+16k (IPv6) matter.

#include "gateway/base/net_types.hpp"

namespace oceanid::tunnel {

inline constexpr unsigned default_path_mtu = 1500;  // Ethernet; until discovery has proven another
inline constexpr unsigned largest_path_mtu = 9000;  // jumbo frames, as discovery tries them
inline constexpr unsigned smallest_inner_mtu = 576;
inline constexpr unsigned ipv6_inner_mtu = 1280;  // a smaller link carries no IPv6 (RFC 8200 §5)
inline constexpr unsigned mtu_step = 16;

constexpr unsigned encapsulation_overhead(Family outer) {
  return outer == Family::v4 ? 60 : 80;
}

// floor16(path − 60|80), never below 576 (RFC 791's minimum that every host accepts).
constexpr unsigned inner_mtu(unsigned path_mtu, Family outer) {
  const unsigned overhead = encapsulation_overhead(outer);
  const unsigned inner = path_mtu > overhead ? (path_mtu - overhead) & ~15U : 0;
  return inner < smallest_inner_mtu ? smallest_inner_mtu : inner;
}

// The largest outer size that matters and is not above `size`.
constexpr unsigned aligned_path_mtu(unsigned size, Family outer) {
  return inner_mtu(size, outer) + encapsulation_overhead(outer);
}

// BASE_PLPMTU (RFC 8899 section 5.1.2): 1200, for IPv6 its guaranteed 1280.
constexpr unsigned base_path_mtu(Family outer) {
  return aligned_path_mtu(outer == Family::v4 ? 1200 : 1280, outer);
}

}  // namespace oceanid::tunnel
