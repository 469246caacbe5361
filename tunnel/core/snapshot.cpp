#include "tunnel/core/snapshot.hpp"

#include <algorithm>

namespace oceanid::tunnel {

const PeerSnapshot* DeviceSnapshot::find(const PublicKey& key) const {
  const auto at = std::ranges::find(peers, key, &PeerSnapshot::public_key);
  return at == peers.end() ? nullptr : &*at;
}

}  // namespace oceanid::tunnel
