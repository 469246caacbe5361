#pragma once
// How WireGuard's packets reach a peer: the rungs of the ladder, the preferred one first. They are
// told apart by what a firewall sees; inside all of them run the same keys and the same session.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace oceanid::tunnel {

enum class Transport : std::uint8_t {
  udp,      // to the peer's WireGuard port
  udp_443,  // to UDP 443, which the peer redirects to that port
  tls,      // in TLS over TCP
  proxied,  // the same through an HTTP proxy that grants CONNECT
};
inline constexpr std::size_t transports = 4;
inline constexpr std::array all_transports{Transport::udp, Transport::udp_443, Transport::tls,
                                           Transport::proxied};

constexpr std::size_t index_of(Transport transport) {
  return static_cast<std::size_t>(transport);
}
constexpr bool is_udp(Transport transport) {
  return transport == Transport::udp || transport == Transport::udp_443;
}
constexpr std::string_view to_string(Transport transport) {
  switch (transport) {
    case Transport::udp:
      return "udp";
    case Transport::udp_443:
      return "udp-443";
    case Transport::tls:
      return "tls";
    case Transport::proxied:
      return "tls-proxy";
  }
  return "udp";
}

}  // namespace oceanid::tunnel
