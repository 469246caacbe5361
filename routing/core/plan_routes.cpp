// Routes of our own tables. Every table ends unreachable, so that a look-up never falls through to
// main when a device goes away.

#include "routing/core/scene.hpp"

#include <algorithm>

namespace oceanid::routing::detail {
namespace {

// IPv6 turns metric 0 into 1024; the same number in both families keeps read-back equal.
constexpr std::uint32_t default_metric = 1024;
constexpr std::uint32_t last_metric = 4294967295U;
// A peer that dials us is answered on the hub: its own prober and its exit device listen there.
constexpr std::uint32_t hub_metric = 10;
constexpr std::uint32_t dialled_metric = 20;
constexpr std::uint32_t overlay_dialled_metric = 10;
constexpr std::uint32_t overlay_hub_metric = 20;
constexpr unsigned ipv6_minimum_mtu = 1280;  // a smaller link takes no IPv6 route (RFC 8200, 5)

Route unreachable_default(Family family, std::uint32_t table) {
  Route route;
  route.family = family;
  route.table = table;
  route.destination = Prefix::any(family);
  route.type = RouteType::unreachable;
  route.metric = last_metric;
  return route;
}

Route default_by(const ExitPath& exit, Family family, std::uint32_t table) {
  Route route;
  route.family = family;
  route.table = table;
  route.destination = Prefix::any(family);
  route.metric = default_metric;
  route.device = exit.device;
  if (!exit.tunnel) route.gateway = family == Family::v4 ? exit.gateway4 : exit.gateway6;
  route.on_link = route.gateway.has_value();
  return route;
}

void add_exit_tables(const Scene& scene, std::vector<Route>& out) {
  for (std::size_t i = 0; i < scene.in.exits.size(); ++i) {
    const ExitPath& exit = scene.in.exits[i];
    for (const Family family : families) {
      if (exit.present && carries(exit, family))
        out.push_back(default_by(exit, family, scene.exit_table(i)));
      out.push_back(unreachable_default(family, scene.exit_table(i)));
    }
  }
}

void add_egress_table(const Scene& scene, std::vector<Route>& out) {
  if (!scene.steering) return;
  for (const Family family : families) {
    const bool used = family == Family::v4 || scene.numbers.ipv6 == Ipv6Mode::exit;
    if (const ExitPath* exit = scene.active(family); exit != nullptr && used)
      out.push_back(default_by(*exit, family, scene.numbers.table));
    out.push_back(unreachable_default(family, scene.numbers.table));
  }
}

// What is reached by this peer: its own addresses and its networks, each once.
Prefixes behind(const TunnelPeer& peer) {
  Prefixes out = hosts(peer.addresses);
  out.insert(out.end(), peer.networks.begin(), peer.networks.end());
  return unique(std::move(out));
}

void add_return_table(const Scene& scene, std::vector<Route>& out) {
  if (scene.in.links.empty()) return;
  for (const TunnelLink& link : scene.in.links) {
    for (const TunnelPeer& peer : link.peers) {
      for (const Prefix& prefix : behind(peer)) {
        Route route;
        route.family = prefix.family();
        route.table = scene.return_table();
        route.destination = prefix;
        route.metric = link.hub ? hub_metric : dialled_metric;
        route.device = link.name;
        if (link.hub) route.mtu = peer.mtu;
        out.push_back(std::move(route));
      }
    }
  }
  for (const Family family : families)
    out.push_back(unreachable_default(family, scene.return_table()));
}

// No default here: what is not a peer's goes on to the next rule. Each prefix ends unreachable
// instead, so that it never meets main when a device goes away.
void add_overlay_table(const Scene& scene, std::vector<Route>& out) {
  if (!scene.in.overlay) return;
  for (const TunnelLink& link : scene.in.links) {
    for (const TunnelPeer& peer : link.peers) {
      for (const Prefix& prefix : behind(peer)) {
        Route route;
        route.family = prefix.family();
        route.table = scene.overlay_table();
        route.destination = prefix;
        route.type = RouteType::unreachable;
        route.metric = last_metric;
        out.push_back(route);
        route.type = RouteType::unicast;
        // Unlike an answer, a question must not wait for the peer to dial: a device of our own
        // comes first.
        route.metric = link.hub ? overlay_hub_metric : overlay_dialled_metric;
        route.device = link.name;
        if (link.hub) route.mtu = peer.mtu;
        const bool too_small = link.mtu != 0 && link.mtu < ipv6_minimum_mtu;
        if (prefix.family() == Family::v4 || !too_small) out.push_back(std::move(route));
      }
    }
  }
}

// Every address is this host's own for what TPROXY has given to a socket here.
void add_intercept_table(const Scene& scene, std::vector<Route>& out) {
  if (!scene.assigns) return;
  for (const Family family : families) {
    Route route;
    route.family = family;
    route.table = scene.intercept_table();
    route.destination = Prefix::any(family);
    route.type = RouteType::local;
    route.metric = default_metric;
    route.device = IfName::parse("lo").value();
    out.push_back(std::move(route));
    out.push_back(unreachable_default(family, scene.intercept_table()));
  }
}

}  // namespace

std::vector<Route> make_routes(const Scene& scene) {
  std::vector<Route> out;
  add_egress_table(scene, out);
  add_exit_tables(scene, out);
  add_return_table(scene, out);
  add_overlay_table(scene, out);
  add_intercept_table(scene, out);
  std::ranges::sort(out);
  const auto rest = std::ranges::unique(out);
  out.erase(rest.begin(), rest.end());
  return out;
}

}  // namespace oceanid::routing::detail
