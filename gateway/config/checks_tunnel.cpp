// Cross checks of `tunnel`.
#include "gateway/config/checks.hpp"

#include <algorithm>
#include <functional>
#include <map>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

constexpr unsigned ipv6_minimum_mtu = 1280;

struct Owned {
  std::string path;
  Prefix range;
  std::size_t owner;  // 0: this node; 1 + index of the peer
};

bool is_unusable(const IpAddress& address) {
  static constexpr std::array refused{"0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127",
                                      "ff00::/8"};
  return std::ranges::any_of(
      refused, [&](const char* range) { return Prefix::parse(range)->contains(address); });
}

}  // namespace

void Checker::tunnel() {
  if (!config_.tunnel) return;
  const auto& tunnel = *config_.tunnel;
  if (clean("tunnel.address") && clean("tunnel.peers") && tunnel.addresses.empty() &&
      !tunnel.peers.empty())
    add("tunnel.address",
        "found no address, but peers; allowed: at least one address of this node inside the "
        "tunnels");
  if (clean("tunnel.listen") && clean("tunnel.probe") && tunnel.listen == tunnel.probe)
    add("tunnel.probe",
        fmt::format("found {}, which is tunnel.listen too; allowed: another UDP port",
                    tunnel.probe));
  // The kernel takes no IPv6 address and no IPv6 route on a link below the protocol's minimum (RFC
  // 8200, section 5): what was to leave by the tunnel would be told "unreachable" for ever.
  const bool six = std::ranges::any_of(tunnel.addresses,
                                       [](const IpAddress& address) { return !address.is_v4(); });
  if (clean("tunnel.mtu") && clean("tunnel.address") && six && tunnel.mtu &&
      *tunnel.mtu < ipv6_minimum_mtu)
    add("tunnel.mtu",
        found_but(fmt::format("{} with an IPv6 address in tunnel.address", *tunnel.mtu),
                  fmt::format("at least {}, below which a link carries no IPv6; or only IPv4 in "
                              "tunnel.address",
                              ipv6_minimum_mtu)));
  accepted_transport();
  for (std::size_t i = 0; i < tunnel.addresses.size(); ++i)
    if (clean("tunnel.address") && is_unusable(tunnel.addresses[i]))
      add(item_path("tunnel.address", i),
          found_but(tunnel.addresses[i].to_string(), "a unicast address"));
}

void Checker::accepted_transport() {
  const auto& tunnel = *config_.tunnel;
  if (!tunnel.tls || !clean("tunnel.tls")) return;
  if (tunnel.tls->certificate.has_value() != tunnel.tls->key.has_value())
    add("tunnel.tls", "found one of certificate and key; allowed: both or none");
  if (clean("tunnel.listen") && !tunnel.listen)
    add("tunnel.tls",
        "found a TLS transport, but tunnel.listen is null, so that nobody dials us; allowed: tls "
        "with a port in tunnel.listen");
  const std::uint16_t responder = tunnel.tls->responder;
  if (clean("tunnel.listen") && clean("tunnel.probe") &&
      (tunnel.listen == responder || tunnel.probe == responder))
    add("tunnel.tls.responder",
        fmt::format("found {}, which is tunnel.{} too; allowed: another UDP port", responder,
                    tunnel.listen == responder ? "listen" : "probe"));
}

void Checker::peers() {
  if (!config_.tunnel) return;
  const auto& all = config_.tunnel->peers;
  for (std::size_t i = 0; i < all.size(); ++i)
    peer(item_path("tunnel.peers", i), all[i]);
  if (!clean("tunnel.peers")) return;
  each_duplicate(all, &tunnel::PeerSettings::name, [&](std::size_t earlier, std::size_t later) {
    add(item_path("tunnel.peers", later) + ".name",
        fmt::format("found {} a second time (also peers[{}]); allowed: every name once",
                    quoted(all[later].name), earlier));
  });
  public_keys();
  ranges();
  for (std::size_t i = 0; i < all.size(); ++i)
    via(item_path("tunnel.peers", i) + ".via", all[i]);
}

void Checker::peer(const std::string& path, const tunnel::PeerSettings& peer) {
  if (!clean(path)) return;
  if (peer.name == "hub")
    add(path + ".name", found_but("\"hub\", whose interface would be oc-hub", "another name"));
  if (!peer.endpoint && !peer.via && clean("tunnel.listen") && !config_.tunnel->listen)
    add(path + ".endpoint",
        "found nothing, and tunnel.listen is null, so that neither side dials; allowed: HOST:PORT "
        "here "
        "or a port in tunnel.listen");
  if (peer.transport == tunnel::TransportChoice::tls && !peer.tls)
    add(path + ".transport",
        "found tls, but no tls section; allowed: tls with the peer's tls section");
  if (peer.tls && !peer.endpoint)
    add(path + ".tls",
        "found a TLS transport, but no endpoint, so that the peer dials us; allowed: tls with an "
        "endpoint, or tunnel.tls here and the peer's own tls section there");
  if (peer.tls && peer.tls->certificate.has_value() != peer.tls->key.has_value())
    add(path + ".tls", "found one of certificate and key; allowed: both or none");
  for (std::size_t i = 0; i < peer.addresses.size(); ++i)
    if (is_unusable(peer.addresses[i]))
      add(item_path(path + ".address", i),
          found_but(peer.addresses[i].to_string(), "a unicast address"));
  for (std::size_t i = 0; i < peer.networks.size(); ++i)
    if (peer.networks[i].length() == 0)
      add(item_path(path + ".networks", i),
          found_but(peer.networks[i].to_string(),
                    "the networks behind the peer; to leave through it, name it in exits"));
}

void Checker::public_keys() {
  std::map<std::string, std::string> seen;
  const auto look = [&](const std::string& path, const std::string& key) {
    const auto [at, fresh] = seen.emplace(key, path);
    if (!fresh)
      add(path,
          fmt::format("found the key of {} again; allowed: every peer its own key", at->second));
  };
  const auto& all = config_.tunnel->peers;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string path = item_path("tunnel.peers", i);
    look(path + ".public_key", all[i].public_key);
    if (all[i].next_public_key) look(path + ".next_public_key", *all[i].next_public_key);
  }
}

// WireGuard gives an address to one peer only; two that claim it would take it from each other in
// silence.
void Checker::ranges() {
  if (!clean("tunnel.address")) return;
  std::vector<Owned> seen;
  const auto look = [&](Owned next) {
    const auto other = std::ranges::find_if(seen, [&](const Owned& earlier) {
      return earlier.owner != next.owner && earlier.range.overlaps(next.range);
    });
    if (other != seen.end())
      add(next.path, fmt::format("found {}, which overlaps {} ({}); allowed: ranges of its own",
                                 next.range.to_string(), other->path, other->range.to_string()));
    seen.push_back(std::move(next));
  };
  const auto& tunnel = *config_.tunnel;
  for (std::size_t i = 0; i < tunnel.addresses.size(); ++i)
    look({item_path("tunnel.address", i), Prefix::host(tunnel.addresses[i]), 0});
  for (std::size_t p = 0; p < tunnel.peers.size(); ++p) {
    const std::string path = item_path("tunnel.peers", p);
    const auto& peer = tunnel.peers[p];
    for (std::size_t i = 0; i < peer.addresses.size(); ++i)
      look({item_path(path + ".address", i), Prefix::host(peer.addresses[i]), p + 1});
    for (std::size_t i = 0; i < peer.networks.size(); ++i)
      look({item_path(path + ".networks", i), peer.networks[i], p + 1});
  }
}

void Checker::via(const std::string& path, const tunnel::PeerSettings& peer) {
  if (!peer.via) return;
  const auto& all = config_.tunnel->peers;
  const auto next = [&](const std::string& peer_name) {
    return std::ranges::find(all, peer_name, &tunnel::PeerSettings::name);
  };
  const auto relay = next(*peer.via);
  if (relay == all.end() || relay->name == peer.name)
    add(path, found_but(quoted(*peer.via), "the name of another peer"));
  else if (relay->via)
    add(path,
        found_but(quoted(*peer.via) + ", which is itself reached through " + quoted(*relay->via),
                  "a peer with a tunnel to this node"));
  if (peer.endpoint) add(path, "found via and an endpoint; allowed: one of them");
  if (clean("tunnel.overlay") && !config_.tunnel->overlay)
    add(path, "found via without tunnel.overlay; allowed: via with tunnel.overlay: on");
}

}  // namespace oceanid::config
