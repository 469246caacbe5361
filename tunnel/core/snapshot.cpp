#include "tunnel/core/snapshot.hpp"

#include <algorithm>

namespace oceanid::tunnel {

void DeviceSnapshot::keep_handshakes(const DeviceSnapshot& before) {
  for (PeerSnapshot& peer : peers) {
    const PeerSnapshot* known = before.find(peer.public_key);
    if (!peer.last_handshake && known != nullptr) peer.last_handshake = known->last_handshake;
  }
}

const PeerSnapshot* DeviceSnapshot::find(const PublicKey& key) const {
  const auto at = std::ranges::find(peers, key, &PeerSnapshot::public_key);
  return at == peers.end() ? nullptr : &*at;
}

}  // namespace oceanid::tunnel
