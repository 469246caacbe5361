#include "routing/core/scene.hpp"

#include "routing/core/special_ranges.hpp"

#include <algorithm>

namespace oceanid::routing::detail {
namespace {

void add_once(std::vector<IfName>& names, const IfName& name) {
  if (!name.empty() && std::ranges::find(names, name) == names.end()) names.push_back(name);
}

bool overlaps_any(const Prefix& prefix, const Prefixes& others) {
  return std::ranges::any_of(others, [&](const Prefix& other) { return prefix.overlaps(other); });
}

bool is_tailnet(const Prefix& prefix) {
  static const Prefix v4 = Prefix::parse("100.64.0.0/10").value();
  static const Prefix v6 = Prefix::parse("fd7a:115c:a1e0::/48").value();
  return v4.contains(prefix) || v6.contains(prefix);
}

}  // namespace

Prefixes unique(Prefixes prefixes) {
  std::ranges::sort(prefixes);
  const auto rest = std::ranges::unique(prefixes);
  prefixes.erase(rest.begin(), rest.end());
  return prefixes;
}

Prefixes of_family(const Prefixes& prefixes, Family family) {
  Prefixes out;
  for (const Prefix& prefix : prefixes)
    if (prefix.family() == family) out.push_back(prefix);
  return out;
}

Prefixes hosts(const std::vector<IpAddress>& addresses) {
  Prefixes out;
  for (const IpAddress& address : addresses)
    out.push_back(Prefix::host(address));
  return unique(std::move(out));
}

bool carries(const ExitPath& exit, Family family) {
  return family == Family::v4 ? exit.ipv4 : exit.ipv6;
}

Scene::Scene(const Inputs& inputs) : in(inputs) {
  if (in.routing) numbers = *in.routing;
  marks = mark_bits(numbers.mark);
  tracking = in.routing || in.serve_exit || !in.exits.empty() || in.overlay || in.transport ||
             !in.interceptions.empty();
  assigns = std::ranges::any_of(in.interceptions, &Interception::tproxy);
  collect_links();
  if (in.routing) {
    sources = unique(in.routing->sources);
    // What is to be left alone must not meet the last line, which knows sources and no family.
    if (in.routing->ipv6 == Ipv6Mode::ignore) sources = of_family(sources, Family::v4);
    for (const IfName& name : in.routing->interfaces)
      add_once(pods, name);
    steering = !pods.empty();
    kill_switch = in.routing->kill_switch;
    if (steering) selectors = selectors_of(*in.routing);
    selecting = selectors.size() > 1 || (!selectors.empty() && selectors[0].way != Way::active);
    for (const Selector& selector : selectors)
      pins = pins || selector.way == Way::pinned;
    exempts = steering && (!numbers.exempt4.empty() || !numbers.exempt6.empty());
  }
  collect_overlay();
  collect_bypass();
  collect_serving();
  collect_direct();
}

void Scene::collect_links() {
  Prefixes addresses;
  Prefixes networks;
  for (const TunnelLink& link : in.links) {
    add_once(tunnels, link.name);
    if (link.hub) add_once(hubs, link.name);
    for (const TunnelPeer& peer : link.peers) {
      for (const IpAddress& address : peer.addresses)
        addresses.push_back(Prefix::host(address));
      networks.insert(networks.end(), peer.networks.begin(), peer.networks.end());
    }
  }
  peer_addresses = unique(std::move(addresses));
  peer_networks = unique(std::move(networks));
  for (const ExitPath& exit : in.exits) {
    has_self = has_self || exit.self;
    if (exit.tunnel) add_once(tunnels, exit.device);
    if (exit.self) add_once(uplinks, exit.device);
    if (!exit.tunnel && !exit.self) add_once(exit_interfaces, exit.device);
    needs_mark = needs_mark || !exit.tunnel;
  }
  if (in.serve_exit) add_once(uplinks, in.serve_exit->uplink);
  for (const IfName& name : in.uplinks)
    if (std::ranges::find(tunnels, name) == tunnels.end()) add_once(uplinks, name);
  std::ranges::sort(tunnels);
  std::ranges::sort(uplinks);
}

// With routing.ipv6 `ignore` this node's own IPv6 stays with the CNI; that of others is relayed.
void Scene::collect_overlay() {
  if (!in.overlay) return;
  for (const TunnelLink& link : in.links)
    for (const TunnelPeer& peer : link.peers) {
      Prefixes behind = hosts(peer.addresses);
      behind.insert(behind.end(), peer.networks.begin(), peer.networks.end());
      overlay.insert(overlay.end(), behind.begin(), behind.end());
      if (!is_relayed(peer)) relay.insert(relay.end(), behind.begin(), behind.end());
    }
  overlay = unique(std::move(overlay));
  relay = unique(std::move(relay));
  if (in.routing && in.routing->ipv6 == Ipv6Mode::ignore) overlay = of_family(overlay, Family::v4);
}

// `near` may leave by an uplink; `cluster` never may: when flannel.1 or tailscale0 is gone, its
// packets would follow main's default route. What is private and on one of the node's own links is
// near, because the operator listed it; pods, peers' pods and the tailnet never are.
void Scene::collect_bypass() {
  if (!in.routing) return;
  for (const SocketAddress& endpoint : in.peer_endpoints)
    near.push_back(Prefix::host(endpoint.address));
  near.insert(near.end(), in.routing->nodes.begin(), in.routing->nodes.end());
  Prefixes pod_ranges = sources;
  pod_ranges.insert(pod_ranges.end(), peer_networks.begin(), peer_networks.end());
  for (const Prefix& prefix : in.routing->bypass) {
    const bool of_pods = overlaps_any(prefix, pod_ranges) || is_tailnet(prefix);
    const bool on_link = overlaps_any(prefix, in.on_link);
    (of_pods || (is_private(prefix) && !on_link) ? cluster : near).push_back(prefix);
  }
  cluster.insert(cluster.end(), sources.begin(), sources.end());
  near = unique(std::move(near));
  cluster = unique(std::move(cluster));
  bypass = near;
  bypass.insert(bypass.end(), cluster.begin(), cluster.end());
  bypass = unique(std::move(bypass));
}

// What pods say to each other stays between them; a public range of sources is the internet too,
// and nothing to leave out.
void Scene::collect_direct() {
  if (in.interceptions.empty()) return;
  direct = bypass;
  const auto add = [this](const Prefixes& more) {
    direct.insert(direct.end(), more.begin(), more.end());
  };
  add(peer_addresses);
  add(peer_networks);
  add(hosts(in.tunnel_addresses));
  for (const Interception& one : in.interceptions)
    for (const Prefix& source : one.sources)
      if (is_private(source)) direct.push_back(source);
  direct = unique(std::move(direct));
}

void Scene::collect_serving() {
  if (!in.serve_exit) return;
  if (const auto* map = std::get_if<SnatMap>(&in.serve_exit->snat)) {
    for (const auto& [source, address] : *map)
      clients.push_back(source);
  } else {
    clients = in.serve_exit->clients;
  }
  clients = unique(std::move(clients));
  for (const Family family : families) {
    const auto& special = special_purpose_ranges(family);
    refused.insert(refused.end(), special.begin(), special.end());
  }
  refused.insert(refused.end(), in.on_link.begin(), in.on_link.end());
  for (const IpAddress& address : in.local_addresses)
    refused.push_back(Prefix::host(address));
  refused = unique(std::move(refused));
}

const ExitPath* Scene::pinned(const Selector& selector) const {
  const auto found = std::ranges::find(in.exits, selector.exit, &ExitPath::name);
  return found == in.exits.end() ? nullptr : &*found;
}

const ExitPath* Scene::active(Family family) const {
  if (!in.active || *in.active >= in.exits.size()) return nullptr;
  const ExitPath& exit = in.exits[*in.active];
  return exit.present && carries(exit, family) ? &exit : nullptr;
}

}  // namespace oceanid::routing::detail
