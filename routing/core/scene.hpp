#pragma once
// The plan's inputs, digested once: what the rules, the routes and the nft text all need. Internal
// to routing/core.

#include "routing/core/marks.hpp"
#include "routing/core/model.hpp"
#include "routing/core/selection.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing::detail {

using Prefixes = std::vector<Prefix>;  // sorted, without repetition, both families

struct Scene {
  explicit Scene(const Inputs& inputs);

  const Inputs& in;
  RoutingSettings numbers;  // routing's, or the defaults when there is none
  MarkBits marks;
  bool steering = false;  // there are pods to steer
  bool kill_switch = false;
  bool exempts = false;  // some destinations are exempted by mark
  bool has_self = false;
  std::vector<Selector> selectors;  // who takes which exit; empty without pods
  bool selecting = false;           // not simply everything by the active one
  bool pins = false;                // some take one exit only
  // Some of our rules ask for a connection's state or translate it, with which the kernel tracks
  // every connection of the host. Tunnels between hosts and nothing else need none of it: what
  // comes out of them is a peer's own, which WireGuard has checked, while an exit's tunnel brings
  // answers from everywhere.
  bool tracking = false;
  bool assigns = false;     // some transparent listener takes packets as they are (TPROXY)
  bool needs_mark = false;  // steered packets need our ruleset to be translated on this node

  std::vector<IfName> pods;     // routing.interfaces
  std::vector<IfName> tunnels;  // every oc- device
  std::vector<IfName> hubs;
  std::vector<IfName> exit_interfaces;  // devices of exits that are not ours
  std::vector<IfName> uplinks;          // where the internet is
  Prefixes sources;
  Prefixes bypass;   // every destination that pods reach without an exit
  Prefixes near;     // of these, what may leave by an uplink: nodes, endpoints, public ranges
  Prefixes cluster;  // of these, what may not: pods, services, tailnet
  Prefixes peer_addresses;
  Prefixes peer_networks;
  Prefixes overlay;  // what this node reaches by tunnels instead of main's routes
  Prefixes relay;    // of peers that have a tunnel to us: where one peer reaches another
  Prefixes clients;  // whom we serve as an exit
  Prefixes direct;   // destinations that no transparent listener takes
  Prefixes refused;  // where an exit does not forward

  // Every connection that is carried is one of our pods'.
  bool only_pods() const { return !in.serve_exit && !in.overlay; }
  std::uint32_t priority(std::uint32_t offset) const { return numbers.priority + offset; }
  std::uint32_t end_priority() const { return numbers.priority + 90; }
  std::uint32_t exit_table(std::size_t exit) const {
    return numbers.table + 1 + static_cast<std::uint32_t>(exit);
  }
  std::uint32_t return_table() const { return exit_table(in.exits.size()); }
  std::uint32_t overlay_table() const { return return_table() + 1; }
  std::uint32_t intercept_table() const { return return_table() + 2; }
  // The exit that routed traffic of this family takes now, when its device exists.
  const ExitPath* active(Family family) const;
  const ExitPath* pinned(const Selector& selector) const;

 private:
  void collect_links();
  void collect_overlay();
  void collect_bypass();
  void collect_serving();
  void collect_direct();
};

// What lies behind another peer of the link has no tunnel address of its own here, but networks.
inline bool is_relayed(const TunnelPeer& peer) {
  return peer.addresses.empty();
}
Prefixes unique(Prefixes prefixes);
Prefixes of_family(const Prefixes& prefixes, Family family);
Prefixes hosts(const std::vector<IpAddress>& addresses);
bool carries(const ExitPath& exit, Family family);
inline constexpr Family families[] = {Family::v4, Family::v6};

std::vector<Rule> make_rules(const Scene& scene);
std::vector<Route> make_routes(const Scene& scene);
NftTables make_nft(const Scene& scene);
std::string make_offload(const Scene& scene);

}  // namespace oceanid::routing::detail
