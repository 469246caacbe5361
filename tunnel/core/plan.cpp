#include "tunnel/core/plan.hpp"

#include "tunnel/core/relay.hpp"

#include <algorithm>
#include <set>

namespace oceanid::tunnel {
namespace {

bool is_exit(const std::vector<ExitSettings>& exits, const std::string& peer) {
  return std::ranges::any_of(exits, [&](const ExitSettings& exit) { return exit.peer == peer; });
}

// One prefix belongs to one peer of a device (cryptokey routing); the first in the file keeps it,
// else two peers would take it from each other at every comparison.
void claim(std::set<Prefix>& taken, std::vector<Prefix>& into, const Prefix& prefix) {
  if (taken.insert(prefix).second) into.push_back(prefix);
}

std::vector<Prefix> allowed_ips(const PeerSettings& peer, bool everything,
                                std::set<Prefix>& taken) {
  std::vector<Prefix> result;
  for (const IpAddress& address : peer.addresses)
    claim(taken, result, Prefix::host(address));
  for (const Prefix& network : peer.networks)
    claim(taken, result, network);
  if (everything) {
    claim(taken, result, Prefix::any(Family::v4));
    claim(taken, result, Prefix::any(Family::v6));
  }
  std::ranges::sort(result);
  return result;
}

// Adds the peer, and the key of it that waits, to `device`; addresses are the caller's.
Result<DesiredPeer*> add_peer(DesiredDevice& device, const PeerSettings& peer,
                              const PresharedKeys& preshared_keys, const PlanOptions& options) {
  const auto key = PublicKey::from_base64(peer.public_key);
  if (!key)
    return fail(Errc::invalid_argument,
                "peer " + peer.name + ": public_key is not a WireGuard key");
  const auto next =
      peer.next_public_key ? PublicKey::from_base64(*peer.next_public_key) : std::nullopt;
  if (peer.next_public_key && !next)
    return fail(Errc::invalid_argument,
                "peer " + peer.name + ": next_public_key is not a WireGuard key");
  const bool turned = next && options.turned.contains({device.name, peer.name});
  if (next && options.latch)
    device.waiting.push_back({.name = peer.name,
                              .public_key = turned ? *key : *next,
                              .preshared_key = options.latch,
                              .endpoint = {},
                              .allowed_ips = {}});
  DesiredPeer& desired = device.peers.emplace_back();
  desired.name = peer.name;
  desired.public_key = turned ? *next : *key;
  if (const auto at = preshared_keys.find(peer.name); at != preshared_keys.end())
    desired.preshared_key = at->second;
  return &desired;
}

Result<DesiredDevice> plan_hub(const TunnelSettings& settings, const PresharedKeys& preshared_keys,
                               const PlanOptions& options) {
  DesiredDevice hub;
  hub.name = IfName::parse(hub_name).value();
  hub.hub = true;
  hub.listen_port = settings.listen.value_or(0);
  hub.fwmark = options.fwmark;
  // Several peers with paths of their own share this link: it gets the most that any of them can
  // carry, and the routing side sets route MTUs below it.
  hub.mtu = settings.mtu.value_or(inner_mtu(options.path_mtu, Family::v4));
  std::set<Prefix> taken;
  for (const PeerSettings& peer : settings.peers) {
    auto desired = add_peer(hub, peer, preshared_keys, options);
    if (!desired) return std::unexpected(std::move(desired.error()));
    // No keepalive: who dials keeps the way open, and we cannot reach a NAT that has forgotten.
    (*desired)->allowed_ips = allowed_ips(peer, /*everything=*/false, taken);
  }
  return hub;
}

Result<DesiredDevice> plan_dialled(const TunnelSettings& settings, const PeerSettings& peer,
                                   bool everything, std::optional<SocketAddress> endpoint,
                                   const PresharedKeys& preshared_keys,
                                   const PlanOptions& options) {
  DesiredDevice device;
  device.name = device_of_peer(peer.name);
  if (device.name.empty() || device.name.str() == hub_name)
    return fail(Errc::invalid_argument,
                "peer " + peer.name + ": the name cannot be used for an interface");
  device.fwmark = options.fwmark;
  const Family outer = endpoint ? endpoint->address.family() : Family::v4;
  device.mtu = settings.mtu.value_or(inner_mtu(options.path_mtu, outer));
  auto added = add_peer(device, peer, preshared_keys, options);
  if (!added) return std::unexpected(std::move(added.error()));
  DesiredPeer& desired = **added;
  std::set<Prefix> taken;
  desired.endpoint = endpoint;
  desired.allowed_ips = allowed_ips(peer, everything, taken);
  desired.keepalive = std::chrono::duration_cast<std::chrono::seconds>(peer.keepalive);
  return device;
}

}  // namespace

IfName device_of_peer(const std::string& peer) {
  return IfName::parse(std::string(device_prefix) + peer).value_or(IfName());
}

Result<std::vector<DesiredDevice>> plan(const TunnelSettings& all,
                                        const std::vector<ExitSettings>& exits,
                                        const ResolvedEndpoints& endpoints,
                                        const PresharedKeys& preshared_keys,
                                        const PlanOptions& options) {
  const TunnelSettings settings = behind_their_relays(all);
  std::vector<DesiredDevice> devices;
  if (settings.listen && !settings.peers.empty()) {
    auto hub = plan_hub(settings, preshared_keys, options);
    if (!hub) return std::unexpected(std::move(hub.error()));
    devices.push_back(std::move(*hub));
  }
  for (const PeerSettings& peer : settings.peers) {
    if (!peer.endpoint) continue;
    const auto known = endpoints.find(peer.name);
    const auto endpoint = known == endpoints.end() ? std::optional<SocketAddress>() : known->second;
    auto device =
        plan_dialled(settings, peer, is_exit(exits, peer.name), endpoint, preshared_keys, options);
    if (!device) return std::unexpected(std::move(device.error()));
    devices.push_back(std::move(*device));
  }
  return devices;
}

std::optional<SocketAddress> choose_endpoint(const std::vector<SocketAddress>& candidates,
                                             const std::optional<SocketAddress>& current) {
  if (candidates.empty()) return current;
  if (current && std::ranges::find(candidates, *current) != candidates.end()) return current;
  return candidates.front();
}

}  // namespace oceanid::tunnel
