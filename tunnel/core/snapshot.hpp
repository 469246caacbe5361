#pragma once
// What a WireGuard device says about itself at one moment. A value without secrets: safe to keep,
// publish and print. Counters are bytes since the peer was added to the device.

#include "gateway/base/net_types.hpp"
#include "tunnel/core/key.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

// Keeps a hostile number inside system_clock's range (nanoseconds in 64 bits).
inline constexpr std::int64_t max_handshake_seconds = 9'000'000'000;

struct PeerSnapshot {
  PublicKey public_key;
  std::optional<SocketAddress> endpoint;  // where it is now: roaming moves it
  // Wall clock; none: never. A responder sets it at the first data packet, not at the handshake.
  std::optional<std::chrono::system_clock::time_point> last_handshake;
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_bytes = 0;
  std::chrono::seconds keepalive{0};
  std::vector<Prefix> allowed_ips;  // sorted
  bool operator==(const PeerSnapshot&) const = default;
};

struct DeviceSnapshot {
  IfName name;
  std::uint16_t listen_port = 0;
  std::uint32_t fwmark = 0;
  std::vector<PeerSnapshot> peers;

  const PeerSnapshot* find(const PublicKey& key) const;
  // A forced handshake removes a peer and adds it again, with which WireGuard forgets when the last
  // one was: `before`, read earlier from the same device, still knows.
  void keep_handshakes(const DeviceSnapshot& before);
  bool operator==(const DeviceSnapshot&) const = default;
};

// A complete reading of a device, secrets included: for diff() and for the comparison at adoption
// only.
struct DeviceReading {
  DeviceSnapshot snapshot;
  std::optional<PrivateKey> private_key;     // none: the device has no key yet
  std::vector<PresharedKey> preshared_keys;  // one for each of snapshot.peers; zero: none
  bool operator==(const DeviceReading&) const = default;
};

}  // namespace oceanid::tunnel
