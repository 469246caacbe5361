// Which packets of pods take which exit, by the same list as the rules (selection.hpp).
//
// Rules alone would do for the way out. The mark of what goes direct is for the packets around it:
// an answer that comes in by the uplink under strict rp_filter is looked up with its own ports (the
// server's), and an ICMP error has none; both carry the mark of their connection. The list is asked
// for every packet in the original direction, so that a connection from before a change follows it.

#include "routing/core/nft_text.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::routing::detail {
namespace {

constexpr std::string_view refuse = "counter name leak_blocked reject with icmpx admin-prohibited";

std::string transport_of(const Selector& selector) {
  const std::string_view name = !selector.protocol                     ? ""
                                : *selector.protocol == Transport::tcp ? "tcp"
                                                                       : "udp";
  if (selector.ports.empty())
    return name.empty() ? std::string() : fmt::format(" meta l4proto {}", name);
  const std::string ports = fmt::format("dport {{ {} }}", fmt::join(selector.ports, ", "));
  return name.empty() ? " meta l4proto { tcp, udp } th " + ports
                      : fmt::format(" {} {}", name, ports);
}

}  // namespace

// The names of the sets that hold the selectors' destinations.
std::string NftParts::destinations_of(std::size_t index) const {
  return index < scene.numbers.selection.size() ? fmt::format("selected{}_", index)
                                                : std::string("destinations");
}

// One clause for each family that can fit.
std::vector<std::string> NftParts::fitting(std::size_t index) const {
  const Selector& selector = scene.selectors.at(index);
  std::vector<std::string> clauses;
  for (const Family family : families) {
    if (family == Family::v6 && scene.numbers.ipv6 != Ipv6Mode::exit) continue;
    const std::string_view protocol = family == Family::v4 ? "ip" : "ip6";
    const char version = family == Family::v4 ? '4' : '6';
    std::string clause;
    if (!selector.sources.empty()) {
      const Prefixes sources = of_family(unique(selector.sources), family);
      if (sources.empty()) continue;
      clause += fmt::format(" {} saddr {}", protocol, inline_set(sources));
    }
    if (!selector.destinations.empty()) {
      if (!out.has(destinations_of(index), family)) continue;
      clause += fmt::format(" {} daddr @{}{}", protocol, destinations_of(index), version);
    }
    if (clause.empty()) clause = fmt::format(" meta nfproto ipv{}", version);
    clauses.push_back((clause + transport_of(selector)).substr(1));
  }
  return clauses;
}

void NftParts::select() {
  if (!scene.selecting) return;
  out.begin("select", "filter hook prerouting priority dstnat + 5");
  out.line(fmt::format("iifname != {} return", names(scene.pods)));
  out.line("ct direction reply return");
  out.line("meta l4proto { icmp, ipv6-icmp } ct state related return");
  out.each("", out.in("daddr", "near"), "return");
  out.each("", out.in("daddr", "cluster"), "return");
  out.each("", out.in("daddr", "overlay"), "return");
  out.each("", out.in("daddr", "exempt"), "goto goes_direct");
  for (std::size_t i = 0; i < scene.selectors.size(); ++i)
    out.each("", fitting(i),
             scene.selectors[i].way == Way::direct ? "goto goes_direct" : "goto takes_exit");
  out.end();
  const auto clear = [&](std::string_view which) {
    return fmt::format("{0} mark set {0} mark & 0x{1:08x}", which, ~scene.marks.exempt.value);
  };
  out.begin("takes_exit");
  out.line(clear("ct") + " " + clear("meta"));
  out.end();
  out.begin("goes_direct");
  out.line(set_bit(scene.marks.exempt, true) + " " + set_bit(scene.marks.exempt, false));
  out.end();
}

// With its rule deleted a connection that is pinned to one exit would take another, and be seen
// with another address.
void NftParts::pinned() {
  if (!scene.pins) return;
  out.begin("pinned");
  out.line("ct direction reply return");
  out.line("meta l4proto { icmp, ipv6-icmp } ct state related return");
  out.line(has_bit(scene.marks.exempt, false) + " return");
  out.each("", out.in("daddr", "near"), "return");
  out.each("", out.in("daddr", "cluster"), "return");
  out.each("", out.in("daddr", "overlay"), "return");
  for (std::size_t i = 0; i < scene.selectors.size(); ++i) {
    if (scene.selectors[i].way == Way::pinned) {
      const ExitPath* exit = scene.pinned(scene.selectors[i]);
      const std::string elsewhere = exit == nullptr || exit->device.empty()
                                        ? std::string()
                                        : fmt::format("oifname != \"{}\" ", exit->device.str());
      out.each("", fitting(i), elsewhere + std::string(refuse));
    }
    out.each("", fitting(i), "return");
  }
  out.end();
}

}  // namespace oceanid::routing::detail
