// Destinations that take no exit and are too many for rules (long_lists.hpp): the mark that rule
// +40 meets.
//
// The mark is in the connection, too, because rp_filter looks up the server's answers with it. It
// is decided anew for every packet in the original direction, once destinations are translated: of
// a prefix that left the list even the open connections take the exit, where their translated
// source is refused (nft_forward.cpp).

#include "routing/core/nft_text.hpp"
#include "routing/core/special_ranges.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {

std::string NftParts::clear_bit(const Mark& bit, bool connection) const {
  return fmt::format("{0} mark set {0} mark & 0x{1:08x}", connection ? "ct" : "meta", ~bit.value);
}

void NftParts::exempt() {
  if (!scene.exempts || scene.selecting) return;  // select() gives the mark then
  out.begin("exempt", "filter hook prerouting priority dstnat + 5");
  out.line(fmt::format("iifname != {} return", names(scene.pods)));
  out.line("ct direction reply return");
  out.line("meta l4proto { icmp, ipv6-icmp } ct state related return");
  out.each("", out.in("daddr", "overlay"), "return");
  out.each("", out.in("daddr", "exempt"),
           fmt::format("{} {} return", set_bit(scene.marks.exempt, true),
                       set_bit(scene.marks.exempt, false)));
  out.line(fmt::format("{} {} {}", has_bit(scene.marks.exempt, true),
                       clear_bit(scene.marks.exempt, true), clear_bit(scene.marks.exempt, false)));
  out.end();
}

// A private network that is on none of the node's own links would follow main's default route when
// its own is gone: `near` and `cluster` of what is marked.
void NftParts::exempt_paths() {
  if (!scene.exempts) return;
  const std::string marked = has_bit(scene.marks.exempt, false);
  if (scene.kill_switch && !scene.uplinks.empty() && scene.numbers.exempts_private) {
    Prefixes on_link;
    for (const Prefix& network : scene.in.on_link)
      if (is_private(network)) on_link.push_back(network);
    const Prefixes near = of_family(unique(on_link), Family::v4);
    const std::string but = near.empty() ? std::string() : "ip daddr != " + inline_set(near) + " ";
    out.line(
        fmt::format("oifname {} {} ip daddr {{ 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, "
                    "192.168.0.0/16 }} {}{}",
                    names(scene.uplinks), marked, but, refuse_leak));
    out.line(fmt::format("oifname {} {} ip6 daddr fc00::/7 {}", names(scene.uplinks), marked,
                         refuse_leak));
  }
  out.line(marked + " return");
}

// What an exit never carried has another source than its own, from when it left by an uplink.
void NftParts::refuse_translated() {
  if (!scene.exempts) return;
  for (const std::string_view family : {"ip", "ip6"}) {
    const Family version = family == "ip" ? Family::v4 : Family::v6;
    if (!out.has("sources", version)) continue;
    const std::string moved =
        fmt::format("ct status snat ct direction original ct reply {} daddr != @sources{}", family,
                    version == Family::v4 ? '4' : '6');
    out.line(
        fmt::format("{} meta l4proto tcp counter name leak_blocked reject with tcp reset", moved));
    out.line(fmt::format("{} {}", moved, refuse_leak));
  }
}

}  // namespace oceanid::routing::detail
