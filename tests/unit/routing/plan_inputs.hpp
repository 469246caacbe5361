#pragma once
// Inputs of the plan for nodes of the reference cluster, shared by the plan's tests. The kernel
// experiment in tests/routing uses the same addresses.

#include "routing/core/long_lists.hpp"
#include "routing/core/plan.hpp"

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::routing::examples {

inline IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}
inline Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
inline IfName name(std::string_view text) {
  return IfName::parse(text).value();
}

inline TunnelPeer peer(std::string peer_name, std::string_view own, std::string_view network) {
  TunnelPeer out;
  out.name = std::move(peer_name);
  out.addresses = {address(own)};
  out.networks = {prefix(network)};
  return out;
}

inline TunnelPeer tethys_peer() {
  return peer("tethys", "10.99.0.1", "10.42.0.0/24");
}
inline TunnelPeer meliae_peer() {
  return peer("meliae", "10.99.0.2", "10.42.2.0/24");
}
inline TunnelPeer styx_peer() {
  return peer("styx", "10.99.0.3", "10.42.1.0/24");
}
inline TunnelPeer calypso_peer() {
  return peer("calypso", "10.99.0.4", "10.42.3.0/24");
}

inline TunnelLink dialled(const TunnelPeer& to) {
  return {name("oc-" + to.name), false, 1420, {to}, false};
}

inline TunnelLink hub(std::vector<TunnelPeer> peers) {
  for (TunnelPeer& entry : peers)
    entry.mtu = 1420;
  return {name("oc-hub"), true, 1420, std::move(peers), false};
}

inline ExitPath by_peer(const std::string& exit) {
  ExitPath out;
  out.name = exit;
  out.device = name("oc-" + exit);
  out.tunnel = true;
  out.present = true;
  return out;
}

inline ExitPath by_uplink(const std::string& exit, std::string_view gateway) {
  ExitPath out;
  out.name = exit;
  out.device = name("eth0");
  out.self = true;
  out.present = true;
  out.gateway4 = address(gateway);
  return out;
}

inline RoutingSettings steering(std::string_view pods) {
  RoutingSettings out;
  out.sources = {prefix(pods)};
  out.interfaces = {name("cni0")};
  out.bypass = {prefix("10.42.0.0/16"), prefix("10.43.0.0/16"), prefix("100.64.0.0/10")};
  return out;
}

inline void add_bypass(Inputs& in, std::string_view text) {
  std::vector<Prefix> all = in.routing->bypass;
  all.push_back(prefix(text));
  in.routing->bypass = std::move(all);
}

inline ServeExitSettings serving(std::string_view seen) {
  ServeExitSettings out;
  out.uplink = name("eth0");
  out.addresses = {address(seen)};
  out.clients = {prefix("10.42.0.0/16"), prefix("10.99.0.0/24")};
  out.allow = {prefix("192.0.2.0/24")};
  return out;
}

// What every node of the cluster has besides its role.
inline Inputs node(std::string_view tunnel, std::string_view uplink, std::string_view network,
                   unsigned number) {
  Inputs in;
  in.tunnel_addresses = {address(tunnel)};
  in.probe_port = 51821;
  const std::string mesh = "100.64.0." + std::to_string(number);
  const std::string pods = "10.42." + std::string(number == 1   ? "0"
                                                  : number == 3 ? "1"
                                                  : number == 2 ? "2"
                                                                : "3");
  in.on_link = {prefix(network), prefix(mesh + "/32"), prefix(pods + ".0/32")};
  in.local_addresses = {address(uplink), address(mesh), address(pods + ".0"), address(pods + ".1")};
  in.uplinks = {name("eth0")};
  in.guarded_ports = {
      {3128, {prefix("127.0.0.0/8"), prefix("10.0.0.0/8"), prefix("::1/128")}, std::nullopt}};
  return in;
}

// A worker: two exits, both through tunnels that it dials.
inline Inputs styx() {
  Inputs in = node("10.99.0.3", "198.51.100.30", "198.51.100.16/28", 3);
  in.routing = steering("10.42.1.0/24");
  in.links = {dialled(tethys_peer()), dialled(meliae_peer())};
  in.exits = {by_peer("tethys"), by_peer("meliae")};
  in.active = 0;
  in.peer_endpoints = {{address("203.0.113.10"), 51820}, {address("203.0.113.20"), 51820}};
  return in;
}

// On a kernel that has WireGuard.
inline Inputs kernel_worker() {
  Inputs in = styx();
  for (TunnelLink& link : in.links)
    link.set_df = true;
  return in;
}

// Whose established connections skip the rule set.
inline Inputs fast_worker() {
  Inputs in = styx();
  in.routing->flowtable = true;
  in.fast = {{name("cni0"), 4, FastDevice::Kind::pods, false},
             {name("oc-tethys"), 11, FastDevice::Kind::exit, false},
             {name("oc-meliae"), 12, FastDevice::Kind::exit, false}};
  return in;
}

// The first exit, with pods of its own and the second exit as its standby.
inline Inputs tethys() {
  Inputs in = node("10.99.0.1", "203.0.113.10", "203.0.113.0/28", 1);
  in.routing = steering("10.42.0.0/24");
  in.serve_exit = serving("203.0.113.10");
  in.links = {hub({styx_peer(), calypso_peer(), meliae_peer()}), dialled(meliae_peer())};
  in.tunnel_listen = 51820;
  in.exits = {by_uplink("tethys", "203.0.113.1"), by_peer("meliae")};
  in.active = 0;
  in.peer_endpoints = {{address("203.0.113.20"), 51820}};
  in.uplink_source4 = address("203.0.113.10");
  return in;
}

// Whose clients' established connections skip the rule set, and its own pods'.
inline Inputs fast_exit() {
  Inputs in = tethys();
  in.serve_exit->flowtable = true;
  in.fast = {{name("cni0"), 4, FastDevice::Kind::pods, false},
             {name("oc-hub"), 11, FastDevice::Kind::hub, false},
             {name("eth0"), 2, FastDevice::Kind::uplink, false}};
  return in;
}

inline Inputs meliae() {
  Inputs in = node("10.99.0.2", "203.0.113.20", "203.0.113.16/28", 2);
  in.routing = steering("10.42.2.0/24");
  in.serve_exit = serving("203.0.113.20");
  in.links = {hub({styx_peer(), calypso_peer(), tethys_peer()}), dialled(tethys_peer())};
  in.tunnel_listen = 51820;
  in.exits = {by_uplink("meliae", "203.0.113.17"), by_peer("tethys")};
  in.active = 0;
  in.peer_endpoints = {{address("203.0.113.10"), 51820}};
  in.uplink_source4 = address("203.0.113.20");
  return in;
}

// Behind NAT, on a home network that pods may use a printer of.
inline Inputs calypso() {
  Inputs in = node("10.99.0.4", "192.168.77.40", "192.168.77.0/24", 4);
  in.routing = steering("10.42.3.0/24");
  add_bypass(in, "192.168.77.9/32");
  in.links = {dialled(tethys_peer()), dialled(meliae_peer())};
  in.exits = {by_peer("tethys"), by_peer("meliae")};
  in.active = 1;
  in.peer_endpoints = {{address("203.0.113.10"), 51820}, {address("203.0.113.20"), 51820}};
  return in;
}

inline Inputs dual_stack() {
  Inputs in = tethys();
  in.tunnel_addresses.push_back(address("fd99::1"));
  in.routing->sources.push_back(prefix("fd42:0::/64"));
  add_bypass(in, "fd42::/32");
  in.routing->ipv6 = Ipv6Mode::exit;
  in.serve_exit->clients.push_back(prefix("fd42::/32"));
  in.links[0].peers[0].addresses.push_back(address("fd99::3"));
  in.links[0].peers[0].networks.push_back(prefix("fd42:1::/64"));
  in.exits[0].ipv6 = true;
  in.exits[0].gateway6 = address("2001:db8:113::1");
  in.on_link.push_back(prefix("2001:db8:113::/124"));
  in.uplink_source6 = address("2001:db8:113::10");
  return in;
}

// Pods fall back to the node's own way out while no exit is proven.
inline Inputs open_worker() {
  Inputs in = styx();
  in.routing->kill_switch = false;
  return in;
}

// More destinations without an exit than there are rules for; 192.0.2.10 is one of them.
inline Inputs long_bypass() {
  Inputs in = styx();
  std::vector<Prefix> all = in.routing->bypass;
  for (unsigned i = 0; i < 66; ++i)
    all.push_back(Prefix::host(IpAddress::v4({192, 0, 2, static_cast<std::uint8_t>(3 * i + 1)})));
  set_bypass(*in.routing, std::move(all));
  return in;
}

inline Inputs narrow_worker() {
  Inputs in = styx();
  in.routing->destinations = {prefix("192.0.2.128/28"), prefix("198.18.0.0/15")};
  in.routing->ports = {5432, 443};
  in.routing->nodes = {prefix("198.51.100.99/32")};
  in.routing->ipv6 = Ipv6Mode::ignore;
  return in;
}

inline SelectionRule line(std::string exit) {
  SelectionRule out;
  out.exit = std::move(exit);
  return out;
}

// Databases by the exit, everything else as if we were not there.
inline Inputs databases_only() {
  Inputs in = styx();
  in.routing->ports = {5432};
  return in;
}

// Everything by the exit but backups, which would fill its line; and the second pod's block only by
// meliae, whatever carries the others.
inline Inputs selecting_worker() {
  Inputs in = styx();
  SelectionRule backups = line("none");
  backups.destinations = {prefix("192.0.2.64/28")};
  backups.ports = {873};
  backups.protocol = Transport::tcp;
  SelectionRule pinned = line("meliae");
  pinned.sources = {prefix("10.42.1.12/32")};
  SelectionRule never = line("none");
  never.ports = {8443};
  in.routing->selection = {backups, pinned, never};
  return in;
}

// An exit whose own pods take it for databases, the other one for a partner, and none else.
inline Inputs selecting_exit() {
  Inputs in = tethys();
  SelectionRule partner = line("meliae");
  partner.destinations = {prefix("192.0.2.64/28")};
  SelectionRule databases = line("active");
  databases.ports = {5432};
  in.routing->selection = {partner, databases, line("none")};
  return in;
}

inline Inputs exit_without_pods() {
  Inputs in = tethys();
  in.routing.reset();
  in.exits.clear();
  in.active.reset();
  in.guarded_ports.clear();
  in.links = {hub({styx_peer(), calypso_peer()})};
  return in;
}

inline Inputs foreign_interface() {
  Inputs in = node("10.99.0.3", "198.51.100.30", "198.51.100.16/28", 3);
  in.tunnel_addresses.clear();
  in.probe_port = 0;
  in.routing = steering("10.42.1.0/24");
  ExitPath exit;
  exit.name = "tailnet";
  exit.device = name("tailscale0");
  exit.present = true;
  in.exits = {exit};
  in.active = 0;
  return in;
}

inline Inputs mapped_exit() {
  Inputs in = exit_without_pods();
  in.serve_exit->snat = SnatMap{{prefix("10.42.0.0/16"), address("203.0.113.10")},
                                {prefix("10.42.1.0/24"), address("203.0.113.11")},
                                {prefix("10.42.1.12/32"), address("203.0.113.12")},
                                {prefix("10.42.3.0/24"), address("203.0.113.12")}};
  return in;
}

// Two addresses: the second where the first has no ports left.
inline Inputs spilling_exit() {
  Inputs in = exit_without_pods();
  in.serve_exit->snat = SnatList{address("203.0.113.10"), address("203.0.113.11")};
  return in;
}

// Nobody has more than a thousand connections open through it.
inline Inputs limited_exit() {
  Inputs in = exit_without_pods();
  in.serve_exit->per_client = 1000;
  in.serve_exit->allow = {prefix("192.168.77.0/24")};
  return in;
}

// An exit that peers may also dial by UDP 443 and by TLS.
inline Inputs exit_with_transport() {
  Inputs in = exit_without_pods();
  in.transport = {443, 51822};
  return in;
}

// A worker whose transparent listener takes its pods' connections to the web.
inline Inputs intercepting() {
  Inputs in = dual_stack();
  in.interceptions = {{{prefix("10.42.0.0/24"), prefix("fd42:0::/64")}, {80, 443}, 3130}};
  return in;
}

// The same with the destinations left as they are.
inline Inputs assigning() {
  Inputs in = intercepting();
  in.interceptions[0].tproxy = true;
  return in;
}

// The gateway of a network, without tunnels and routing.
inline Inputs intercepting_only() {
  Inputs in;
  in.interceptions = {{{prefix("10.9.1.0/24"), prefix("fd09:1::/64")}, {443}, 3130},
                      {{prefix("198.51.100.0/24")}, {443, 8443}, 3131}};
  return in;
}

// One listener of each kind.
inline Inputs assigning_only() {
  Inputs in = intercepting_only();
  in.interceptions[0].tproxy = true;
  return in;
}

// The gateway of a network that is an exit for others.
inline Inputs assigning_exit() {
  Inputs in = exit_without_pods();
  in.interceptions = assigning_only().interceptions;
  return in;
}

inline TunnelPeer relayed(TunnelPeer far) {
  for (const IpAddress& own : far.addresses)
    far.networks.push_back(Prefix::host(own));
  far.addresses.clear();
  return far;
}

// Pods of other nodes by the tunnels; calypso's behind tethys.
inline Inputs overlay_worker() {
  Inputs in = styx();
  in.overlay = true;
  in.links[0].peers.push_back(relayed(calypso_peer()));
  return in;
}

// The relay between its peers, with both families.
inline Inputs overlay_exit() {
  Inputs in = dual_stack();
  in.overlay = true;
  in.links[0].peers[1].addresses.push_back(address("fd99::4"));
  in.links[0].peers[1].networks.push_back(prefix("fd42:3::/64"));
  return in;
}

// No pods, no exit: a relay and nothing else.
inline Inputs overlay_relay() {
  Inputs in = node("10.99.0.9", "203.0.113.90", "203.0.113.80/28", 9);
  in.guarded_ports.clear();
  in.tunnel_listen = 51820;
  in.links = {hub({styx_peer(), calypso_peer()})};
  in.overlay = true;
  return in;
}

// Tunnels between hosts, and nothing else.
inline Inputs tunnels_only() {
  Inputs in = overlay_relay();
  in.overlay = false;
  in.links.push_back(dialled(tethys_peer()));
  return in;
}

inline std::map<std::string, Inputs> all() {
  return {{"styx", styx()},
          {"tethys", tethys()},
          {"meliae", meliae()},
          {"calypso", calypso()},
          {"dual-stack", dual_stack()},
          {"open-worker", open_worker()},
          {"narrow-worker", narrow_worker()},
          {"databases-only", databases_only()},
          {"fast-worker", fast_worker()},
          {"fast-exit", fast_exit()},
          {"kernel-worker", kernel_worker()},
          {"selecting-worker", selecting_worker()},
          {"selecting-exit", selecting_exit()},
          {"long-bypass", long_bypass()},
          {"exit-without-pods", exit_without_pods()},
          {"foreign-interface", foreign_interface()},
          {"exit-with-transport", exit_with_transport()},
          {"mapped-exit", mapped_exit()},
          {"spilling-exit", spilling_exit()},
          {"limited-exit", limited_exit()},
          {"intercepting", intercepting()},
          {"intercepting-only", intercepting_only()},
          {"assigning", assigning()},
          {"assigning-only", assigning_only()},
          {"assigning-exit", assigning_exit()},
          {"overlay-worker", overlay_worker()},
          {"overlay-exit", overlay_exit()},
          {"overlay-relay", overlay_relay()},
          {"tunnels-only", tunnels_only()},
          {"nothing", Inputs{}}};
}

}  // namespace oceanid::routing::examples
