#pragma once
// Short ways to write the values that these tests are about.

#include "tunnel/core/key.hpp"
#include "tunnel/core/plan.hpp"
#include "tunnel/core/snapshot.hpp"

#include <algorithm>
#include <string_view>

namespace oceanid::tunnel::testing {

template <typename Key>
Key key(std::uint8_t seed) {
  KeyBytes bytes{};
  bytes.fill(seed);
  return Key(bytes);
}
inline PublicKey public_key(std::uint8_t seed) {
  return key<PublicKey>(seed);
}
inline PrivateKey private_key(std::uint8_t seed) {
  return key<PrivateKey>(seed);
}
inline PresharedKey preshared_key(std::uint8_t seed) {
  return key<PresharedKey>(seed);
}
inline Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
inline SocketAddress endpoint(std::string_view text) {
  return SocketAddress::parse(text).value();
}
inline IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}
inline IfName name(std::string_view text) {
  return IfName::parse(text).value();
}

// The device exactly as `desired` wants it, as a backend would report it.
inline DeviceReading as_applied(const DesiredDevice& desired, const PrivateKey& private_key) {
  DeviceReading reading;
  reading.snapshot.name = desired.name;
  reading.snapshot.listen_port = desired.listen_port == 0 ? 40000 : desired.listen_port;
  reading.snapshot.fwmark = desired.fwmark.value;
  reading.private_key = private_key;
  const auto add = [&](const DesiredPeer& peer) {
    PeerSnapshot& present = reading.snapshot.peers.emplace_back();
    present.public_key = peer.public_key;
    present.endpoint = peer.endpoint;
    present.keepalive = peer.keepalive;
    present.allowed_ips = peer.allowed_ips;
    reading.preshared_keys.push_back(peer.preshared_key.value_or(PresharedKey()));
  };
  std::ranges::for_each(desired.peers, add);
  std::ranges::for_each(desired.waiting, add);
  return reading;
}

}  // namespace oceanid::tunnel::testing
