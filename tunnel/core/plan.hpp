#pragma once
// From the configuration to the WireGuard devices that this node must have.
//
//   oc-<peer>  one for each peer with an endpoint: we dial it, from an ephemeral port. It has its
//              own link MTU, counters and health; carries everything (0.0.0.0/0, ::/0) when an
//              exit names the peer.
//   oc-hub     when `listen` is set: ALL peers, none with an endpoint. Who dials us arrives here,
//              also those that we dial ourselves: the far side's packets come to our listen port,
//              which only this device owns (two interfaces cannot share a port), and WireGuard
//              drops what it cannot attribute to a peer of that same device.
//
// So two nodes that dial each other hold two sessions, A:oc-B ↔ B:oc-hub and B:oc-A ↔ A:oc-hub.
// They use the same static keys but every device has its own table of peers, timestamps and session
// indices, so neither disturbs the other; answers go back by the device on which the question came.
// Pure; any thread.

#include "gateway/base/exit.hpp"
#include "gateway/base/net_types.hpp"
#include "tunnel/core/key.hpp"
#include "tunnel/core/mtu.hpp"
#include "tunnel/core/settings.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::tunnel {

inline constexpr std::string_view device_prefix = "oc-";
inline constexpr std::string_view hub_name = "oc-hub";

struct DesiredPeer {
  std::string name;
  PublicKey public_key;
  std::optional<PresharedKey> preshared_key;
  std::optional<SocketAddress> endpoint;  // none: it dials us, or its name is not resolved yet
  std::vector<Prefix> allowed_ips;        // sorted, without duplicates
  std::chrono::seconds keepalive{0};
  bool operator==(const DesiredPeer&) const = default;
};

struct DesiredDevice {
  IfName name;
  bool hub = false;
  std::uint16_t listen_port = 0;  // 0: ephemeral, the device keeps what it has
  Mark fwmark{0, 0};              // of the encapsulated packets; 0: none
  unsigned mtu = 0;               // of the link; the routing side sets it
  std::vector<DesiredPeer> peers;
  // The other keys of those among `peers` that have two (a rotation): known to the device, so that
  // a handshake with one shows that the peer has turned to it, but without addresses, and with a
  // preshared key that nobody has, so that no session comes of it before the addresses have moved
  // (rotation.hpp).
  std::vector<DesiredPeer> waiting;
  bool operator==(const DesiredDevice&) const = default;
};

// Keyed by PeerSettings::name.
using ResolvedEndpoints = std::map<std::string, SocketAddress>;
using PresharedKeys = std::map<std::string, PresharedKey>;

struct PlanOptions {
  Mark fwmark{0, 0};
  unsigned path_mtu = default_path_mtu;  // where settings.mtu does not say a number
  // Where a peer's next_public_key is the one in force, by device and peer.
  std::set<std::pair<IfName, std::string>> turned;
  // Of keys that wait: random, known to nobody. None: such keys are left out.
  std::optional<PresharedKey> latch;
};

// The hub first, then dialled peers in configuration order. Settings are validated already; a peer
// whose key cannot be read is an error all the same, as is a peer named "hub" that has an endpoint.
Result<std::vector<DesiredDevice>> plan(const TunnelSettings& settings,
                                        const std::vector<ExitSettings>& exits,
                                        const ResolvedEndpoints& endpoints,
                                        const PresharedKeys& preshared_keys,
                                        const PlanOptions& options = {});

IfName device_of_peer(const std::string& peer);  // oc-<peer>; empty when the name is not valid

// The address to dial out of a fresh answer: `current` if it is still among them (a change would
// cost nothing but a roamed session), else the first; none when nothing is known.
std::optional<SocketAddress> choose_endpoint(const std::vector<SocketAddress>& candidates,
                                             const std::optional<SocketAddress>& current);

}  // namespace oceanid::tunnel
