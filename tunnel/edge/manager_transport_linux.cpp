// What TunnelManager does for the transports below WireGuard.

#include "tunnel/edge/manager.hpp"
#include "tunnel/edge/route_check_linux.hpp"
#include "tunnel/edge/transport_keys.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::tunnel {

std::vector<SocketAddress> TunnelManager::addresses_of(const HostPort& transport) const {
  std::vector<SocketAddress> out;
  for (const IpAddress& address : book_.find(transport.host))
    out.push_back({address, transport.port});
  return with_route(std::move(out), wanted_.fwmark);
}

std::optional<SocketAddress> TunnelManager::endpoint_of(const std::string& peer) const {
  const auto& peers = wanted_.settings.peers;
  const auto settings = std::ranges::find(peers, peer, &PeerSettings::name);
  if (settings == peers.end() || !settings->endpoint) return std::nullopt;
  const auto chosen = chosen_.find(settings->endpoint->to_string());
  return chosen == chosen_.end() ? std::nullopt : std::optional(chosen->second);
}

void TunnelManager::set_detour(const std::string& peer, std::optional<Detour> detour) {
  const auto before = detours_.find(peer);
  const bool same = before == detours_.end() ? !detour : detour && before->second == *detour;
  if (same) return;
  if (detour)
    detours_.insert_or_assign(peer, *detour);
  else
    detours_.erase(before);
  replan_due_ = true;
  poke();
}

Result<TransportKey> TunnelManager::transport_key_of(const std::string& peer) const {
  const auto& peers = wanted_.settings.peers;
  const auto settings = std::ranges::find(peers, peer, &PeerSettings::name);
  const auto key = settings == peers.end() ? std::optional<PublicKey>()
                                           : PublicKey::from_base64(settings->public_key);
  if (!secrets_ || !key) return fail(Errc::not_found, "no keys for peer " + peer);
  const auto preshared = secrets_->preshared_keys.find(peer);
  return transport_key(secrets_->private_key, *key,
                       preshared == secrets_->preshared_keys.end()
                           ? std::nullopt
                           : std::optional(preshared->second));
}

}  // namespace oceanid::tunnel
