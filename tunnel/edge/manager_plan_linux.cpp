// From settings, keys and what names resolved to: the devices that there should be.

#include "tunnel/edge/key_store.hpp"
#include "tunnel/edge/manager.hpp"
#include "tunnel/edge/route_check_linux.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

namespace oceanid::tunnel {

Result<TunnelManager::Secrets> TunnelManager::load_secrets(const TunnelSettings& settings) const {
  Secrets secrets;
  auto key = settings.private_key_file ? load_private_key(*settings.private_key_file)
                                       : load_or_create_private_key(key_path(settings));
  if (!key) return std::unexpected(std::move(key.error()).context("tunnel.private_key_file"));
  auto own = public_key_of(*key);
  if (!own) return std::unexpected(std::move(own.error()));
  secrets.private_key = *key;
  secrets.public_key = *own;
  for (const PeerSettings& peer : settings.peers) {
    if (!peer.preshared_key_file) continue;
    auto preshared = load_preshared_key(*peer.preshared_key_file);
    if (!preshared)
      return std::unexpected(
          std::move(preshared.error()).context("preshared key of peer " + peer.name));
    secrets.preshared_keys.emplace(peer.name, *preshared);
  }
  return secrets;
}

// A private key that is gone is made anew by a start only: by a question all peers would lose us.
Result<bool> TunnelManager::other_keys_on_disk() const {
  std::error_code ignored;
  if (!secrets_ || !std::filesystem::exists(key_path(wanted_.settings), ignored)) return false;
  auto secrets = load_secrets(wanted_.settings);
  if (!secrets) return std::unexpected(std::move(secrets.error()));
  return *secrets != *secrets_;
}

ResolvedEndpoints TunnelManager::choose_endpoints() {
  ResolvedEndpoints endpoints;
  for (const PeerSettings& peer : wanted_.settings.peers) {
    if (!peer.endpoint) continue;
    std::vector<SocketAddress> candidates;
    for (const IpAddress& address : book_.find(peer.endpoint->host))
      candidates.push_back({address, peer.endpoint->port});
    // A home connection without IPv6 must not dial a name's IPv6 address for ever. With no route to
    // any of them the line is down, and what was chosen stays.
    candidates = with_route(std::move(candidates), wanted_.fwmark);
    const std::string name = peer.endpoint->to_string();
    const auto before = chosen_.find(name);
    const auto current = before == chosen_.end() ? std::optional<SocketAddress>() : before->second;
    if (const auto endpoint = choose_endpoint(candidates, current)) {
      chosen_.insert_or_assign(name, *endpoint);
      endpoints.emplace(peer.name, *endpoint);
    }
    const auto detour = detours_.find(peer.name);
    if (detour == detours_.end()) continue;
    if (const auto* shim = std::get_if<SocketAddress>(&detour->second))
      endpoints.insert_or_assign(peer.name, *shim);
    else if (const auto chosen = endpoints.find(peer.name); chosen != endpoints.end())
      chosen->second.port = std::get<std::uint16_t>(detour->second);
  }
  return endpoints;
}

Result<void> TunnelManager::replan() {
  replan_due_ = false;
  PlanOptions plan_options;
  plan_options.fwmark = wanted_.fwmark;
  sync_turns();
  plan_options.turned = turned();
  plan_options.latch = latch_;
  auto planned = plan(wanted_.settings, wanted_.exits, choose_endpoints(), secrets_->preshared_keys,
                      plan_options);
  if (!planned) return std::unexpected(std::move(planned.error()));
  std::vector<IfName> names;
  for (DesiredDevice& desired : *planned) {
    names.push_back(desired.name);
    Device& device = devices_[desired.name];
    if (!(device.desired == desired)) {
      device.desired = std::move(desired);
      device.due = true;
      device.retry_at = {};
    }
    sync_prober(device);
  }
  std::erase_if(devices_, [&](auto& entry) {
    if (std::ranges::find(names, entry.first) != names.end()) return false;
    if (entry.second.prober) entry.second.prober->stop();
    to_remove_.push_back(entry.first);
    return true;
  });
  return {};
}

}  // namespace oceanid::tunnel
