// What TunnelManager says about itself; what it does is in manager_linux.cpp.

#include "tunnel/edge/manager.hpp"

#include <algorithm>

#include <boost/asio/post.hpp>

namespace oceanid::tunnel {

// Not what the devices have now: that may be a shim of ours.
std::vector<SocketAddress> TunnelManager::peer_endpoints() const {
  std::vector<SocketAddress> endpoints;
  const auto add = [&](const SocketAddress& endpoint) {
    if (std::ranges::find(endpoints, endpoint) == endpoints.end()) endpoints.push_back(endpoint);
  };
  for (const PeerSettings& peer : wanted_.settings.peers)
    if (const auto endpoint = endpoint_of(peer.name)) add(*endpoint);
  for (const HostPort& transport : wanted_.transports)
    std::ranges::for_each(addresses_of(transport), add);
  return endpoints;
}

TunnelStatus TunnelManager::status_of(const Device& device) const {
  TunnelStatus status;
  status.device = device.desired.name;
  status.hub = device.desired.hub;
  if (backend_) {
    status.backend = backend_->kind();
    status.version = backend_->version(device.desired.name);
  }
  status.present = device.applied && device.snapshot.has_value();
  status.mtu = device.desired.hub ? 0 : paths_.mtu_of_dialled(device.desired);
  status.error = device.error;
  if (device.snapshot) status.listen_port = device.snapshot->listen_port;
  const auto now = std::chrono::system_clock::now();
  std::optional<PeerSnapshot> live;
  for (const DesiredPeer& wanted : device.desired.peers) {
    PeerStatus& peer = status.peers.emplace_back();
    peer.name = wanted.name;
    peer.public_key = wanted.public_key;
    if (status.hub) {
      peer.mtu = paths_.mtu_on_hub(wanted.name, device.desired.mtu);
      peer.path = paths_.on_hub(wanted.name);
      status.mtu = std::max(status.mtu, peer.mtu);  // route MTUs are below it
    } else {
      peer.mtu = status.mtu;
      peer.path = paths_.dialled(wanted.name);
    }
    for (const Prefix& allowed : wanted.allowed_ips)
      if (!peer.hears_us && allowed.is_host())
        peer.hears_us = responder_.hears_us(allowed.address());
    if (const auto turn = turns_.find({device.desired.name, wanted.name}); turn != turns_.end())
      peer.next_key_in_force = turn->second.turned;
    const PeerSnapshot* found =
        device.snapshot ? device.snapshot->find(wanted.public_key) : nullptr;
    if (!found) continue;
    live = *found;
    peer.endpoint = found->endpoint;
    peer.rx_bytes = found->rx_bytes;
    peer.tx_bytes = found->tx_bytes;
    if (found->last_handshake)
      peer.handshake_age = std::chrono::floor<std::chrono::seconds>(now - *found->last_handshake);
  }
  if (status.hub) return status;
  const EchoResult echo = device.prober ? device.prober->result(Clock::now()) : EchoResult();
  status.echo = echo.state;
  status.rtt = echo.rtt;
  status.echo_silence = echo.silence;
  if (device.prober) {
    status.full_size_missing = device.prober->full_size_missing();
    status.echo_sent = device.prober->tracker().sent_total();
    status.echo_answered = device.prober->tracker().answered_total();
  }
  status.findings = tunnel_findings(live, echo, now);
  status.findings.peer = device.desired.peers.front().name;
  status.findings.device = status.findings.device && status.present;
  status.findings.device_error = device.error;
  status.proof = judge(status.findings);
  return status;
}

std::vector<TunnelStatus> TunnelManager::status() const {
  std::vector<TunnelStatus> result;
  for (const auto& [name, device] : devices_)
    result.push_back(status_of(device));
  return result;
}

std::vector<PeerReach> TunnelManager::peers() const {
  std::vector<PeerReach> out;
  const auto now = Clock::now();
  for (const PeerSettings& peer : wanted_.settings.peers) {
    PeerReach& reach = out.emplace_back();
    reach.name = peer.name;
    for (const IpAddress& address : peer.addresses) {
      if (!reach.hears_us) reach.hears_us = responder_.hears_us(address);
      const auto heard = responder_.last_heard(address);
      if (!heard || (reach.silence && *reach.silence < heard->silence)) continue;
      reach.silence = heard->silence;
      reach.reached = !heard->lost;
    }
    const auto device = devices_.find(device_of_peer(peer.name));
    if (device == devices_.end() || !device->second.prober) continue;
    const EchoResult echo = device->second.prober->result(now);
    reach.dialled = true;
    reach.silence = echo.silence;
    reach.reached.reset();
    if (echo.state != PathState::init || echo.sent > 0) reach.reached = carries(echo.state);
  }
  return out;
}

std::optional<std::chrono::system_clock::time_point> TunnelManager::last_handshake() const {
  std::optional<std::chrono::system_clock::time_point> newest;
  for (const auto& [name, device] : devices_)
    if (device.snapshot)
      for (const PeerSnapshot& peer : device.snapshot->peers)
        newest = std::max(newest, peer.last_handshake);
  return newest;
}

void TunnelManager::publish() {
  std::vector<std::string> facts;
  for (const TunnelStatus& status : this->status()) {
    std::string fact = status.device.str() + (status.present ? " present " : " absent ") +
                       std::to_string(status.mtu) +
                       (status.proof.usable ? " usable " : " unusable ");
    fact += carries(status.echo) ? "up" : to_string(status.echo);
    if (status.findings.word) fact += " " + to_string(*status.findings.word);
    for (const PeerStatus& peer : status.peers)
      fact += " " + peer.name + "/" + std::to_string(peer.mtu) +
              (peer.endpoint && !status.hub ? "=" + peer.endpoint->to_string() : "");
    facts.push_back(std::move(fact));
  }
  if (facts == published_) return;
  published_ = std::move(facts);
  if (on_change_) asio::post(executor_, on_change_);
}

}  // namespace oceanid::tunnel
