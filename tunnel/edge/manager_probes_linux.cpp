// Who asks peers whether they are there and how much their paths carry, and who answers them.

#include "gateway/base/runtime/log.hpp"
#include "tunnel/edge/manager.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

// More than echoes make of a quiet tunnel in a second.
constexpr std::uint64_t traffic_in_a_poll = 8192;

awaitable<void> run_prober(std::shared_ptr<EchoProber> prober) {
  co_await prober->run();
}

}  // namespace

void TunnelManager::sync_prober(Device& device) {
  if (device.desired.hub) return;
  const auto peer = std::ranges::find(wanted_.settings.peers, device.desired.peers.front().name,
                                      &PeerSettings::name);
  std::optional<EchoProber::Target> target;
  for (const IpAddress& theirs : peer->addresses) {
    const auto ours =
        std::ranges::find(wanted_.settings.addresses, theirs.family(), &IpAddress::family);
    if (target || ours == wanted_.settings.addresses.end()) continue;
    target = EchoProber::Target{device.desired.name,
                                *ours,
                                {theirs, wanted_.settings.probe},
                                wanted_.interval,
                                wanted_.down_after};
  }
  if (device.prober && target && device.prober->target() == *target) return;
  if (device.prober) device.prober->stop();
  device.prober.reset();
  if (!target) return;
  device.prober = std::make_shared<EchoProber>(executor_, *target, [this] { publish(); });
  device.prober->set_on_full_size_lost(
      [this, name = peer->name](unsigned missing) { paths_.on_suspicion(name, missing); });
  tasks_.spawn("echo prober", run_prober(device.prober));
}

void TunnelManager::configure_responder() {
  std::vector<IpAddress> peers;
  for (const PeerSettings& peer : wanted_.settings.peers)
    peers.insert(peers.end(), peer.addresses.begin(), peer.addresses.end());
  const std::vector<IpAddress> own =
      peers.empty() ? std::vector<IpAddress>() : wanted_.settings.addresses;
  std::vector<IfName> devices;
  for (const auto& [name, device] : devices_)
    devices.push_back(name);
  const auto configured =
      responder_.configure(devices, own, wanted_.settings.probe, std::move(peers));
  const std::string error = configured ? "" : configured.error().what;
  if (!error.empty() && error != responder_error_) log::error("tunnel", error);
  responder_error_ = error;
}

void TunnelManager::configure_paths() {
  PathKeeper::Secrets secrets{secrets_->private_key, {}, secrets_->preshared_keys};
  std::vector<DesiredDevice> desired;
  for (const auto& [name, device] : devices_) {
    desired.push_back(device.desired);
    for (const DesiredPeer& peer : device.desired.peers)
      secrets.peers.insert_or_assign(peer.name, peer.public_key);
  }
  paths_.configure(wanted_.settings, wanted_.fwmark, secrets, desired);
  paths_changed();
}

void TunnelManager::paths_changed() {
  for (auto& [name, device] : devices_)
    if (device.prober) device.prober->set_full_size(paths_.mtu_of_dialled(device.desired));
  publish();
}

// Paths in use are looked at more often.
void TunnelManager::note_traffic(const Device& device, const DeviceSnapshot& snapshot) {
  if (!device.snapshot) return;
  for (const DesiredPeer& peer : device.desired.peers) {
    const PeerSnapshot* before = device.snapshot->find(peer.public_key);
    const PeerSnapshot* now = snapshot.find(peer.public_key);
    if (before == nullptr || now == nullptr) continue;
    const std::uint64_t bytes = now->rx_bytes + now->tx_bytes;
    if (bytes >= before->rx_bytes + before->tx_bytes + traffic_in_a_poll)
      paths_.on_traffic(peer.name, device.desired.hub);
  }
}

}  // namespace oceanid::tunnel
