// The table `inet oceanid`. Chains that look at packets before the routing decision and on their
// way in; see nft_forward.cpp and nft_nat.cpp for the others.
//
// Nothing here depends on which exit is active or on which links exist: interfaces are matched by
// name, all tunnels as "oc-*". Rejecting beats dropping towards pods, whose connections then fail
// at once; a forged or foreign packet is dropped.

#include "routing/core/nft_text.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace oceanid::routing::detail {

std::string NftParts::has_bit(const Mark& bit, bool connection) const {
  return fmt::format("{0} mark & 0x{1:08x} == 0x{1:08x}", connection ? "ct" : "meta", bit.value);
}

std::string NftParts::set_bit(const Mark& bit, bool connection) const {
  return fmt::format("{0} mark set {0} mark | 0x{1:08x}", connection ? "ct" : "meta", bit.value);
}

void NftParts::declare_sets() {
  out.set("sources", scene.sources);
  out.set("near", scene.near);
  out.set("cluster", scene.cluster);
  for (std::size_t i = 0; i < scene.selectors.size(); ++i)
    out.set(destinations_of(i), scene.selectors[i].destinations);
  if (scene.exempts) {
    out.set("exempt", Family::v4, scene.numbers.exempt4);
    out.set("exempt", Family::v6, scene.numbers.exempt6);
  }
  out.set("tunnel_addresses", hosts(scene.in.tunnel_addresses));
  Prefixes peers = scene.peer_addresses;
  peers.insert(peers.end(), scene.peer_networks.begin(), scene.peer_networks.end());
  out.set("peers", unique(std::move(peers)));
  out.set("direct", scene.direct);
  out.set("overlay", scene.overlay);
  out.set("relay", scene.relay);
  if (!scene.in.serve_exit) return;
  out.set("clients", scene.clients);
  out.set("allowed", unique(scene.in.serve_exit->allow));
  out.set("refused", scene.refused);
}

// Both marks live in the connection, so that packets of either direction carry them: rp_filter's
// reverse look-up is made as if the answer came in by the interface that the packet goes out by,
// with the packet's mark (src_valid_mark), and must meet the rule that the answer will meet. EXEMPT
// is given by a first packet from outside to a pod, after the destination was translated. Marking
// every packet in reply direction instead would leak: with tcp_loose a server's packet that arrives
// by a tunnel can become the original direction of a new conntrack entry.
//
// Here as in the other chains of every packet the cheap question comes first. In instructions, the
// rule around it included (bench/forward): a mark 100, a direction 130, a state or a connection's
// mark 150, a name 240, a search in a set 450.
void NftParts::marks() {
  const bool serves = scene.in.serve_exit && !scene.hubs.empty();
  if (!scene.steering && !scene.in.serve_exit) return;
  const Mark& carried = scene.marks.carried;
  const Mark& exempt = scene.marks.exempt;
  out.begin("pre", "filter hook prerouting priority mangle");
  out.line(fmt::format("ct direction reply ct mark & 0x{:08x} == 0x{:08x} {} return",
                       carried.mask | exempt.mask, carried.value, set_bit(carried, false)));
  if (scene.assigns) out.line(is_taken(true) + " return");
  if (serves) out.line(fmt::format("iifname {} goto marks_of_clients", names(scene.hubs)));
  if (scene.steering) out.line(fmt::format("iifname {} goto marks_of_pods", names(scene.pods)));
  if (scene.steering)
    out.line(
        fmt::format("{} iifname != \"oc-*\" {}", has_bit(exempt, true), set_bit(exempt, false)));
  carry_answers();
  out.end();
  if (serves) marks_of_clients();
  if (!scene.steering) return;
  marks_of_pods();
  left_behind();
  // Nearly every packet is one that we carry, or its answer. Names one by one: for a set of names
  // with a wildcard the kernel copies the packet's and searches an array.
  out.begin("inbound", "filter hook prerouting priority dstnat + 5");
  out.line(has_bit(scene.marks.carried, false) + " return");
  for (const IfName& name : scene.pods)
    out.line(fmt::format("iifname \"{}\" return", name.str()));
  out.line("iifname \"oc-*\" return");
  out.each("ct direction original", out.in("daddr", "sources"),
           set_bit(scene.marks.exempt, true) + " " + set_bit(scene.marks.exempt, false));
  out.end();
}

void NftParts::carry_original() {
  out.line(fmt::format("ct direction original {} {}", has_bit(scene.marks.carried, false),
                       set_bit(scene.marks.carried, true)));
}

void NftParts::carry_answers() {
  out.line(fmt::format("ct direction reply {} {}", has_bit(scene.marks.carried, true),
                       set_bit(scene.marks.carried, false)));
}

// The source is asked for every packet: a client that is one no longer has the mark no longer, and
// meets the rule that refuses it (plan_rules.cpp, +24).
void NftParts::marks_of_clients() {
  out.begin("marks_of_clients");
  out.each("", out.in("saddr", "clients"), set_bit(scene.marks.carried, false));
  carry_original();
  if (scene.exempts || scene.selecting) carry_answers();
  out.end();
}

// On a worker a connection that is carried is a pod's, which has shown its source to `sources`;
// what is a source no longer is refused by the routing rules, which name the sources themselves
// (+55, +60, +88). Elsewhere it may be a client's, or one that is relayed, and a pod that forges
// its addresses must not have its mark.
void NftParts::marks_of_pods() {
  const std::string carry = set_bit(scene.marks.carried, false);
  const bool drains = !scene.in.exits.empty();
  out.begin("marks_of_pods");
  if (drains)
    for (const std::string& segment : reset_segments())
      out.line(segment + " jump left_behind");
  const std::uint32_t bits = scene.marks.carried.mask | scene.marks.exempt.mask |
                             (drains ? scene.marks.draining.mask : std::uint32_t{0});
  const std::string known = fmt::format("ct direction original ct mark & 0x{:08x} == 0x{:08x}",
                                        bits, scene.marks.carried.value);
  if (scene.only_pods())
    out.line(known + " " + carry + " return");
  else
    out.each(known, out.in("saddr", "sources"), carry + " return");
  out.line(has_bit(scene.marks.exempt, true) + " " + set_bit(scene.marks.exempt, false));
  out.each("", out.in("saddr", "sources"), carry);
  // Given by netd to single connections (ctnetlink) when a switch is planned.
  if (drains)
    out.line(fmt::format("{} {}", has_bit(scene.marks.draining, true),
                         set_bit(scene.marks.draining, false)));
  carry_original();
  carry_answers();
  out.end();
}

// A reset that an exit makes on a server's behalf, and an ICMP error about a client's flow, must
// not take the CNI's way to the pod: the far end's rp_filter and our own guard would drop it there.
void NftParts::reply_path() {
  if (!scene.in.serve_exit || out.in("daddr", "peers").empty()) return;
  out.begin("reply_path", "route hook output priority mangle");
  const std::string carry = set_bit(scene.marks.carried, false);
  out.each(fmt::format("meta l4proto {{ icmp, ipv6-icmp }} ct state related {}",
                       has_bit(scene.marks.carried, true)),
           out.in("daddr", "peers"), carry);
  out.line("meta l4proto != tcp return");
  out.line("fib saddr type local return");
  for (const Family family : families) {
    const char version = family == Family::v4 ? '4' : '6';
    if (!out.has("peers", family)) continue;
    const std::string source = family == Family::v4 ? "ip saddr" : "ip6 saddr";
    const std::string to =
        fmt::format("{} daddr @peers{} {}", family == Family::v4 ? "ip" : "ip6", version, carry);
    if (out.has("allowed", family)) out.line(fmt::format("{} @allowed{} {}", source, version, to));
    out.line(fmt::format("{} != @refused{} {}", source, version, to));
  }
  out.end();
}

// Where nothing tracks connections there are no exits, and WireGuard itself lets nothing but a
// peer's addresses and networks out of its tunnel: asking again would cost every packet that
// carries one a hook (bench/tunnel).
void NftParts::input() {
  if (!scene.tracking) return;
  const bool guards = scene.in.routing && !scene.in.guarded_ports.empty();
  if (scene.tunnels.empty() && !guards) return;
  const std::string entry = scene.in.serve_exit ? "tunnel_ingress" : "known_peers";
  out.begin("ingress", "filter hook input priority filter - 5");
  failsafes_in();
  if (!scene.tunnels.empty()) {
    out.line("iifname \"oc-*\" ct state invalid counter name ingress_refused drop");
    out.line("iifname \"oc-*\" ct state new jump " + entry);
  }
  if (guards) listeners();
  out.end();
  if (scene.tunnels.empty()) return;
  if (scene.in.serve_exit) tunnel_ingress();
  known_peers();
}

// An exit's own addresses are no destination for its clients; its end of the tunnel is.
void NftParts::tunnel_ingress() {
  out.begin("tunnel_ingress");
  out.each("", out.in("daddr", "allowed"), "goto known_peers");
  out.each("", out.not_in("daddr", "tunnel_addresses"), "counter name ingress_refused drop");
  out.line("goto known_peers");
  out.end();
}

void NftParts::known_peers() {
  out.begin("known_peers");
  for (const TunnelLink& link : scene.in.links) {
    Prefixes behind;
    for (const TunnelPeer& peer : link.peers) {
      const Prefixes ends = hosts(peer.addresses);
      behind.insert(behind.end(), ends.begin(), ends.end());
      behind.insert(behind.end(), peer.networks.begin(), peer.networks.end());
    }
    for (const Family family : families) {
      const Prefixes part = of_family(unique(behind), family);
      if (part.empty()) continue;
      out.line(fmt::format("iifname \"{}\" {} saddr {} return", link.name.str(),
                           family == Family::v4 ? "ip" : "ip6", inline_set(part)));
    }
  }
  out.line("counter name ingress_refused drop");
  out.end();
}

void NftParts::listeners() {
  // Of two sockets on one port, one of them on every address, packets to either meet both rules.
  const auto shares = [](const GuardedPort& one, const GuardedPort& other) {
    return one.port == other.port &&
           (one.address == other.address || !one.address || !other.address);
  };
  std::map<std::pair<std::uint16_t, std::optional<IpAddress>>, Prefixes> sockets;
  for (const GuardedPort& guarded : scene.in.guarded_ports) {
    if (guarded.port == 0) continue;
    Prefixes& clients = sockets[{guarded.port, guarded.address}];
    for (const GuardedPort& other : scene.in.guarded_ports)
      if (shares(guarded, other))
        clients.insert(clients.end(), other.clients.begin(), other.clients.end());
  }
  for (const auto& [socket, clients] : sockets)
    for (const Family family : families) {
      const auto& [port, address] = socket;
      if (address && address->family() != family) continue;
      const std::string_view protocol = family == Family::v4 ? "ip" : "ip6";
      const Prefixes allowed = of_family(unique(clients), family);
      const std::string from =
          allowed.empty() ? fmt::format("meta nfproto ipv{}", family == Family::v4 ? '4' : '6')
                          : fmt::format("{} saddr != {}", protocol, inline_set(allowed));
      const std::string to =
          address ? fmt::format("{} daddr {} ", protocol, address->to_string()) : std::string();
      out.line(fmt::format(
          "iifname != \"lo\" {}tcp dport {} ct state new {} counter name listener_refused drop", to,
          port, from));
    }
}

// With every rule of ours deleted a socket may still carry a tunnel's source address, or a pod's:
// neither may leave by another way. Encrypted packets carry the uplink's address.
void NftParts::output() {
  const bool pods = scene.steering && scene.kill_switch;
  if (scene.in.tunnel_addresses.empty() && !pods) return;
  out.begin("own_traffic", "filter hook output priority filter - 5");
  const std::string underlay = has_bit(scene.marks.underlay, false);
  // The kernel's WireGuard sends without DF (send4() in drivers/net/wireguard/socket.c), unlike
  // wireguard-go's socket: routers would cut its packets to pieces instead of telling that they are
  // too large, and a full-size echo would prove nothing about the path.
  if (std::ranges::any_of(scene.in.links, &TunnelLink::set_df))
    out.line(underlay + " ip frag-off set 0x4000 return");
  if (!scene.tunnels.empty()) out.line(underlay + " return");
  redirects();
  out.line("oifname \"oc-*\" return");
  out.line("oifname \"lo\" return");
  failsafes_out();
  out.each("", out.in("saddr", "tunnel_addresses"), "counter name leak_blocked drop");
  if (pods && !scene.in.serve_exit) errors_of_carried();
  if (pods) {
    out.line("oifname " + names(scene.pods) + " return");
    // While the pods' bridge is gone, what the node answers them would follow main's default.
    if (!scene.uplinks.empty())
      out.each("oifname " + names(scene.uplinks), out.in("daddr", "sources"),
               "counter name leak_blocked drop");
    out.each("", out.in("daddr", "near"), "return");
    if (!scene.uplinks.empty())
      out.each("oifname != " + names(scene.uplinks), out.in("daddr", "cluster"), "return");
    else
      out.each("", out.in("daddr", "cluster"), "return");
    out.each("", out.in("saddr", "sources"), "counter name leak_blocked drop");
  }
  out.end();
}

// What comes out of a tunnel for a pod that is gone, or whose bridge is, is answered with an ICMP
// error (ours or the kernel's), and main's default would take that to the internet, with the node's
// own address. An exit's errors for its clients are the internet's business (what fits the tunnel).
void NftParts::errors_of_carried() {
  if (scene.uplinks.empty()) return;
  out.line(
      fmt::format("oifname {} meta l4proto {{ icmp, ipv6-icmp }} ct state related "
                  "ct mark & 0x{:08x} == 0x{:08x} counter name leak_blocked drop",
                  names(scene.uplinks), scene.marks.carried.value | scene.marks.exempt.value,
                  scene.marks.carried.value));
}

NftTables make_nft(const Scene& scene) {
  const bool intercepts = !scene.in.interceptions.empty();
  if (!scene.in.routing && !scene.in.serve_exit && scene.tunnels.empty() && !intercepts) return {};
  NftWriter writer;
  NftParts parts{scene, writer};
  parts.declare_sets();
  parts.marks();
  parts.select();
  parts.exempt();
  parts.transport();
  parts.intercept();
  parts.reply_path();
  parts.forward();
  parts.input();
  parts.output();
  parts.mss();
  parts.translation();
  parts.last_line();
  std::vector<std::string_view> counters{"leak_blocked",    "lastline_blocked", "foreign_source",
                                         "special_refused", "ingress_refused",  "listener_refused",
                                         "invalid_reset"};
  if (intercepts) counters.push_back("intercept_refused");
  if (scene.steering && !scene.in.exits.empty()) counters.push_back("flows_reset");
  if (scene.in.serve_exit && scene.in.serve_exit->per_client > 0)
    counters.push_back("client_refused");
  return writer.tables(counters);
}

}  // namespace oceanid::routing::detail
