#include "tunnel/core/diff.hpp"

#include <algorithm>
#include <iterator>

namespace oceanid::tunnel {
namespace {

PeerChange added(const DesiredPeer& peer) {
  PeerChange change;
  change.public_key = peer.public_key;
  change.replace_allowed_ips = true;
  change.allowed_ips = peer.allowed_ips;
  change.preshared_key = peer.preshared_key;
  change.endpoint = peer.endpoint;
  if (peer.keepalive.count() > 0) change.keepalive = peer.keepalive;
  return change;
}

PeerChange removed(const PublicKey& key) {
  PeerChange change;
  change.public_key = key;
  change.remove = true;
  return change;
}

std::vector<Prefix> sorted(std::vector<Prefix> prefixes) {
  std::ranges::sort(prefixes);
  return prefixes;
}

bool on_loopback(const SocketAddress& endpoint) {
  static const Prefix v4 = Prefix::parse("127.0.0.0/8").value();
  static const Prefix v6 = Prefix::parse("::1/128").value();
  return (endpoint.address.is_v4() ? v4 : v6).contains(endpoint.address);
}

bool fell_back(const DesiredPeer& peer, const PeerSnapshot& actual) {
  return peer.endpoint && actual.endpoint && on_loopback(*actual.endpoint) &&
         !on_loopback(*peer.endpoint);
}

bool wants_endpoint_written(const DesiredPeer& peer, const PeerSnapshot& actual,
                            const EndpointIntent& intent) {
  if (!peer.endpoint || actual.endpoint == peer.endpoint) return false;
  if (!actual.endpoint || fell_back(peer, actual)) return true;
  const auto written = intent.find(peer.public_key);
  // Nothing remembered (we have just started and adopted the device): the configuration wins once.
  // For a live session this costs no packet, WireGuard sends to the new address with the same keys.
  return written == intent.end() || written->second != *peer.endpoint;
}

std::optional<PeerChange> changed(const DesiredPeer& peer, const PeerSnapshot& actual,
                                  const PresharedKey& actual_preshared,
                                  const EndpointIntent& intent) {
  PeerChange change;
  change.public_key = peer.public_key;
  if (sorted(peer.allowed_ips) != sorted(actual.allowed_ips)) {
    change.replace_allowed_ips = true;
    change.allowed_ips = peer.allowed_ips;
  }
  const PresharedKey preshared = peer.preshared_key.value_or(PresharedKey());
  if (!(preshared == actual_preshared)) change.preshared_key = preshared;
  if (wants_endpoint_written(peer, actual, intent)) change.endpoint = peer.endpoint;
  if (peer.keepalive != actual.keepalive) change.keepalive = peer.keepalive;
  PeerChange nothing;
  nothing.public_key = peer.public_key;
  if (change == nothing) return std::nullopt;
  return change;
}

// A key that waited is to be used: its peer is made anew. It has just answered a handshake, and
// WireGuard starts none of its own within 5 s of that (REKEY_TIMEOUT), which a new peer does.
bool comes_out_of_waiting(const DesiredPeer& peer, const PeerSnapshot& actual,
                          const PresharedKey& actual_preshared) {
  return actual.allowed_ips.empty() && !peer.allowed_ips.empty() &&
         !(peer.preshared_key.value_or(PresharedKey()) == actual_preshared);
}

bool holds(const std::vector<DesiredPeer>& peers, const PublicKey& key) {
  return std::ranges::find(peers, key, &DesiredPeer::public_key) != peers.end();
}

}  // namespace

DeviceChange diff(const DesiredDevice& desired, const PrivateKey& private_key,
                  const DeviceReading& actual, const EndpointIntent& intent) {
  DeviceChange change;
  if (!actual.private_key || !(*actual.private_key == private_key))
    change.private_key = private_key;
  if (desired.listen_port != 0 && desired.listen_port != actual.snapshot.listen_port)
    change.listen_port = desired.listen_port;
  if (desired.fwmark.value != actual.snapshot.fwmark) change.fwmark = desired.fwmark.value;

  for (const PeerSnapshot& peer : actual.snapshot.peers) {
    if (holds(desired.peers, peer.public_key) || holds(desired.waiting, peer.public_key)) continue;
    change.peers.push_back(removed(peer.public_key));
  }
  const auto compare = [&](const DesiredPeer& peer) {
    const auto& present = actual.snapshot.peers;
    const auto at = std::ranges::find(present, peer.public_key, &PeerSnapshot::public_key);
    if (at == present.end()) {
      change.peers.push_back(added(peer));
      return;
    }
    const auto index = static_cast<std::size_t>(at - present.begin());
    const PresharedKey preshared =
        index < actual.preshared_keys.size() ? actual.preshared_keys[index] : PresharedKey();
    if (comes_out_of_waiting(peer, *at, preshared))
      std::ranges::move(forced_handshake(peer, at->endpoint).peers,
                        std::back_inserter(change.peers));
    else if (auto update = changed(peer, *at, preshared, intent))
      change.peers.push_back(std::move(*update));
  };
  // Those that wait come last: an address that changes hands is never without an owner.
  std::ranges::for_each(desired.peers, compare);
  std::ranges::for_each(desired.waiting, compare);
  return change;
}

EndpointIntent intent_of(const DesiredDevice& desired) {
  EndpointIntent intent;
  for (const DesiredPeer& peer : desired.peers)
    if (peer.endpoint) intent.emplace(peer.public_key, *peer.endpoint);
  return intent;
}

bool fell_back_to_shim(const DesiredDevice& desired, const DeviceSnapshot& actual) {
  return std::ranges::any_of(desired.peers, [&](const DesiredPeer& peer) {
    const PeerSnapshot* seen = actual.find(peer.public_key);
    return seen != nullptr && fell_back(peer, *seen);
  });
}

DeviceChange forced_handshake(const DesiredPeer& peer,
                              const std::optional<SocketAddress>& live_endpoint) {
  DeviceChange change;
  change.peers.push_back(removed(peer.public_key));
  PeerChange again = added(peer);
  if (live_endpoint) again.endpoint = live_endpoint;
  change.peers.push_back(std::move(again));
  return change;
}

}  // namespace oceanid::tunnel
