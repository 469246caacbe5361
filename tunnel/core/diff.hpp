#pragma once
// The difference between the device that we want and the device that is there, as the one change
// that both backends know how to carry out. diff(x, reading of x) is empty. Pure; any thread.
//
// Endpoints roam: WireGuard follows a peer to wherever its last authentic packet came from, and
// writing the configured address back would cut off a peer behind NAT (squat/kilo issue 34). So an
// endpoint is written only when the peer is new, when what WE want has changed (`intent`: what was
// written last), or when the peer fell back to a transport of ours that was left.

#include "gateway/base/net_types.hpp"
#include "tunnel/core/key.hpp"
#include "tunnel/core/plan.hpp"
#include "tunnel/core/snapshot.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

struct PeerChange {
  PublicKey public_key;
  bool remove = false;  // the other fields then say nothing
  bool replace_allowed_ips = false;
  std::vector<Prefix> allowed_ips;            // the complete list, with replace_allowed_ips
  std::optional<PresharedKey> preshared_key;  // zero: take it away
  std::optional<SocketAddress> endpoint;
  std::optional<std::chrono::seconds> keepalive;  // 0: off
  bool operator==(const PeerChange&) const = default;
};

struct DeviceChange {
  std::optional<PrivateKey> private_key;
  std::optional<std::uint16_t> listen_port;
  std::optional<std::uint32_t> fwmark;
  std::vector<PeerChange> peers;  // removals first; one that is made anew right before it
  bool empty() const { return !private_key && !listen_port && !fwmark && peers.empty(); }
  bool operator==(const DeviceChange&) const = default;
};

// Endpoints as last written by us to this device.
using EndpointIntent = std::map<PublicKey, SocketAddress>;

DeviceChange diff(const DesiredDevice& desired, const PrivateKey& private_key,
                  const DeviceReading& actual, const EndpointIntent& intent);
EndpointIntent intent_of(const DesiredDevice& desired);

// A peer that is to be dialled elsewhere has its endpoint on our own loopback: the shim of a
// transport that was left. WireGuard roams to wherever a packet came from, and what was under way
// by the shim may be decrypted after it was led away. Nobody else is there to roam to.
bool fell_back_to_shim(const DesiredDevice& desired, const DeviceSnapshot& actual);

// Removes the peer and adds it again in one message: that forgets the session and resets the limit
// of one handshake initiation in 5 s. `live_endpoint`: where the peer is now, kept over the
// configured one.
DeviceChange forced_handshake(const DesiredPeer& peer,
                              const std::optional<SocketAddress>& live_endpoint);

}  // namespace oceanid::tunnel
