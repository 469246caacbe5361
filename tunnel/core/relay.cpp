#include "tunnel/core/relay.hpp"

#include <algorithm>

namespace oceanid::tunnel {

TunnelSettings behind_their_relays(TunnelSettings settings) {
  for (const PeerSettings& far : settings.peers) {
    const auto relay = std::ranges::find_if(
        settings.peers, [&](const PeerSettings& peer) { return far.via == peer.name; });
    if (relay == settings.peers.end()) continue;
    for (const IpAddress& address : far.addresses)
      relay->networks.push_back(Prefix::host(address));
    relay->networks.insert(relay->networks.end(), far.networks.begin(), far.networks.end());
  }
  std::erase_if(settings.peers, [](const PeerSettings& peer) { return peer.via.has_value(); });
  return settings;
}

}  // namespace oceanid::tunnel
