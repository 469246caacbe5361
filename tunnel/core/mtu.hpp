#pragma once
// MTU arithmetic of WireGuard. Bytes everywhere. The encapsulation costs the outer IP header, 8
// bytes of UDP and 32 of WireGuard's data message; plaintext is padded to 16, so an inner MTU that
// is no multiple of 16 wastes or overflows the last block (Cilium had to raise its overhead from 80
// to 95 for this).

#include "gateway/base/net_types.hpp"

namespace oceanid::tunnel {

inline constexpr unsigned default_path_mtu = 1500;  // Ethernet; until discovery has proven another
inline constexpr unsigned smallest_inner_mtu = 576;

constexpr unsigned encapsulation_overhead(Family outer) {
  return outer == Family::v4 ? 60 : 80;
}

// floor16(path − 60|80), never below 576 (RFC 791's minimum that every host accepts).
constexpr unsigned inner_mtu(unsigned path_mtu, Family outer) {
  const unsigned overhead = encapsulation_overhead(outer);
  const unsigned inner = path_mtu > overhead ? (path_mtu - overhead) & ~15U : 0;
  return inner < smallest_inner_mtu ? smallest_inner_mtu : inner;
}

}  // namespace oceanid::tunnel
