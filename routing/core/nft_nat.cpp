// Segment sizes and source addresses: the last words on a packet.

#include "routing/core/nft_text.hpp"
#include "routing/core/special_ranges.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

constexpr unsigned overhead4 = 40;  // IPv4 and TCP headers without options
constexpr unsigned overhead6 = 60;

unsigned smallest_mtu(const TunnelLink& link) {
  unsigned mtu = link.mtu;
  for (const TunnelPeer& peer : link.peers)
    if (peer.mtu && (mtu == 0 || *peer.mtu < mtu)) mtu = *peer.mtu;
  return mtu;
}

// One statement for each prefix length, the longest first: nft refuses a map whose intervals
// overlap
// ("10.42.0.0/16" beside "10.42.1.0/24"), and prefixes of one length never do. A source that a map
// does not have goes on to the next statement.
std::vector<std::string> snat_by_map(const SnatMap& map, Family family, std::string_view protocol) {
  std::map<unsigned, std::vector<std::string>, std::greater<>> pairs;
  for (const auto& [source, address] : map)
    if (source.family() == family && address.family() == family)
      pairs[source.length()].push_back(
          fmt::format("{} : {}", source.to_string(), address.to_string()));
  std::vector<std::string> out;
  for (const auto& [length, of_length] : pairs)
    out.push_back(fmt::format("snat {0} to {0} saddr map {{ {1} }} fully-random", protocol,
                              fmt::join(of_length, ", ")));
  return out;
}

// What is bound for a destination where an address has no ports left takes the next one: the sets
// hold such destinations for a while (spill_set). The last resort is asked first.
std::vector<std::string> snat_by_list(const SnatList& list, Family family,
                                      std::string_view protocol) {
  std::vector<std::string> out;
  std::size_t number = 0;
  for (const IpAddress& address : list) {
    if (address.family() != family) continue;
    const std::string spilled = number == 0 ? std::string()
                                            : fmt::format("{} daddr . meta l4proto . th dport @{} ",
                                                          protocol, spill_set(family, number));
    out.push_back(
        fmt::format("{}snat {} to {} fully-random", spilled, protocol, address.to_string()));
    ++number;
  }
  std::ranges::reverse(out);
  return out;
}

// How clients of one family are translated; empty: not at all.
std::vector<std::string> snat_of(const Scene& scene, Family family) {
  const std::string_view protocol = family == Family::v4 ? "ip" : "ip6";
  const auto to = [&](const IpAddress& address) {
    return std::vector{fmt::format("snat {} to {} fully-random", protocol, address.to_string())};
  };
  const Snat& snat = scene.in.serve_exit->snat;
  if (const auto* address = std::get_if<IpAddress>(&snat))
    return address->family() == family ? to(*address) : std::vector<std::string>();
  if (const auto* map = std::get_if<SnatMap>(&snat)) return snat_by_map(*map, family, protocol);
  if (const auto* list = std::get_if<SnatList>(&snat)) return snat_by_list(*list, family, protocol);
  const auto& source = family == Family::v4 ? scene.in.uplink_source4 : scene.in.uplink_source6;
  // A fixed address keeps its mappings when the uplink blinks; masquerade is for those that change.
  if (std::holds_alternative<SnatAuto>(snat) && source) return to(*source);
  return {"masquerade fully-random"};
}

}  // namespace

// Asymmetric: on the way out the route's MTU is the tunnel's; on the way in the kernel's reverse
// look-up ignores the steering rules and finds the uplink's 1500, so the number is fixed.
void NftParts::mss() {
  if (scene.tunnels.empty()) return;
  out.begin("mss_of_syn");
  out.line("oifname \"oc-*\" tcp option maxseg size set rt mtu");
  for (const TunnelLink& link : scene.in.links) {
    const unsigned mtu = smallest_mtu(link);
    if (mtu <= overhead6) continue;
    const auto clamp = [&](char version, unsigned size) {
      out.line(fmt::format("iifname \"{}\" meta nfproto ipv{} tcp option maxseg size set {}",
                           link.name.str(), version, size));
    };
    clamp('4', mtu - overhead4);
    clamp('6', mtu - overhead6);
  }
  out.end();
}

void NftParts::declare_spills(const SnatList& list) {
  for (const Family family : families) {
    std::size_t number = 0;
    for (const IpAddress& address : list) {
      if (address.family() != family) continue;
      if (number > 0)
        out.keyed_set(spill_set(family, number),
                      fmt::format("{} . inet_proto . inet_service",
                                  family == Family::v4 ? "ipv4_addr" : "ipv6_addr"));
      ++number;
    }
  }
}

// One step before srcnat: the first chain that sets a mapping wins, and Flannel and kube-proxy
// masquerade at srcnat. The identity mapping keeps a pod's address visible to the exit.
void NftParts::translation() {
  if (scene.in.serve_exit)
    if (const auto* list = std::get_if<SnatList>(&scene.in.serve_exit->snat)) declare_spills(*list);
  const bool identity = scene.steering && !scene.tunnels.empty();
  if (!identity && !scene.in.serve_exit && scene.exit_interfaces.empty() && !scene.in.overlay)
    return;
  out.begin("translate", "nat hook postrouting priority srcnat - 1");
  if (scene.selecting) out.line(has_bit(scene.marks.exempt, false) + " return");
  if (identity && out.has("sources", Family::v4))
    out.line("oifname \"oc-*\" ip saddr @sources4 snat ip to ip saddr");
  if (identity && out.has("sources", Family::v6))
    out.line("oifname \"oc-*\" ip6 saddr @sources6 snat ip6 to ip6 saddr");
  overlay_identity();
  for (const Family family : families) {
    if (!scene.in.serve_exit) break;
    const char version = family == Family::v4 ? '4' : '6';
    const std::string_view protocol = family == Family::v4 ? "ip" : "ip6";
    const bool mapped = std::holds_alternative<SnatMap>(scene.in.serve_exit->snat);
    std::set<std::string> whom{"clients"};
    if (scene.has_self && !mapped) whom.insert("sources");
    for (const std::string& snat : snat_of(scene, family))
      for (const std::string& name : whom)
        if (out.has(name, family))
          out.line(fmt::format("oifname \"{}\" {} saddr @{}{} {}",
                               scene.in.serve_exit->uplink.str(), protocol, name, version, snat));
  }
  if (!scene.exit_interfaces.empty())
    out.each("oifname " + names(scene.exit_interfaces), out.in("saddr", "sources"),
             "masquerade fully-random");
  out.end();
}

// Nearly every packet: not a pod's or a client's, whatever it was.
void NftParts::carries_exits_address() {
  std::vector<IfName> guarded = scene.uplinks;
  guarded.push_back(scene.in.serve_exit->uplink);
  guarded.insert(guarded.end(), scene.exit_interfaces.begin(), scene.exit_interfaces.end());
  std::ranges::sort(guarded);
  const auto rest = std::ranges::unique(guarded);
  guarded.erase(rest.begin(), rest.end());
  const auto is_own = [this](const IpAddress& address) {
    const auto holds = [&](const Prefix& prefix) { return prefix.contains(address); };
    return std::ranges::any_of(scene.clients, holds) || std::ranges::any_of(scene.sources, holds);
  };
  const std::vector<IpAddress> seen = seen_with();
  if (!seen.empty() && std::ranges::none_of(seen, is_own))
    out.line(fmt::format("ip saddr {} return", one_of(seen)));
  out.line(fmt::format("oifname != {} return", names(guarded)));
}

// After all translation: whatever still carries a client's or a pod's address stays here. Only what
// the operator bypasses may show a pod's address to the node's neighbours.
void NftParts::last_line() {
  const bool guarded = scene.steering && scene.kill_switch && !scene.uplinks.empty();
  if (!scene.in.serve_exit && !guarded && scene.exit_interfaces.empty() && !overlay_may_leak())
    return;
  out.begin("last_line", "filter hook postrouting priority srcnat + 1");
  constexpr std::string_view refuse = "goto refuse_untranslated";
  // Whoever sends it, a Service's node port too. A peer's own endpoint may lie in its networks.
  if (overlay_may_leak())
    out.each(fmt::format("oifname {0} meta mark & 0x{1:08x} != 0x{1:08x}", names(scene.uplinks),
                         scene.marks.underlay.value),
             out.in("daddr", "overlay"), refuse);
  if (scene.in.serve_exit) carries_exits_address();
  if (scene.selecting) {
    // What goes direct has its address from the CNI, but for pods whose own is a public one.
    Prefixes open;
    std::ranges::remove_copy_if(scene.sources, std::back_inserter(open), is_private);
    for (const Family family : families)
      if (const Prefixes part = of_family(open, family); !part.empty())
        out.line(fmt::format("{} {} saddr {} return", has_bit(scene.marks.exempt, false),
                             family == Family::v4 ? "ip" : "ip6", inline_set(part)));
  }
  if (scene.in.serve_exit)
    out.each(fmt::format("oifname \"{}\"", scene.in.serve_exit->uplink.str()),
             out.in("saddr", "clients"), refuse);
  if (!scene.exit_interfaces.empty())
    out.each("oifname " + names(scene.exit_interfaces), out.in("saddr", "sources"), refuse);
  const std::vector<std::string> near = out.in("daddr", "near");
  if (guarded)
    out.each("oifname " + names(scene.uplinks), out.in("saddr", "sources"),
             near.empty() ? refuse : "goto untranslated");
  out.end();
  if (guarded && !near.empty()) {
    out.begin("untranslated");
    out.each("", near, "return");
    out.line(refuse);
    out.end();
  }
  out.begin("refuse_untranslated");
  failsafes_last();
  out.line("counter name lastline_blocked drop");
  out.end();
}

}  // namespace oceanid::routing::detail
