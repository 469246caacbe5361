// The overlay: pods of one node reach pods of another through our tunnels, with their own
// addresses, and by no other way.
//
// A relay hands packets of one peer to another: from a prefix of the peer that sent them, as
// WireGuard has checked, to a prefix of one that has a tunnel to us. Never on to a further relay,
// so no mistake in two configurations makes a circle. It looks at each packet alone, since the
// answers may take another relay and connection tracking would call half a connection invalid.

#include "routing/core/nft_text.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {

void NftParts::relay() {
  if (!scene.in.overlay) return;
  out.begin("relay");
  out.each("", out.in("daddr", "relay"), "goto known_peers");
  out.line("counter name ingress_refused reject with icmpx admin-prohibited");
  out.end();
}

// With our rules gone main would have its way: the CNI's, or its default.
void NftParts::overlay_by_uplink() {
  if (overlay_may_leak())
    out.each("oifname " + names(scene.uplinks), out.in("daddr", "overlay"), refuse_leak);
}

// A relay sends out where the packet came in; the kernel would tell the pod to go there itself
// (kernel WireGuard switches that off, a TUN device does not).
void NftParts::redirects() {
  if (!scene.in.overlay) return;
  out.line("oifname \"oc-*\" icmp type redirect drop");
  out.line("oifname \"oc-*\" icmpv6 type nd-redirect drop");
}

// Flannel masquerades what leaves the cluster's range; a peer's network may lie outside of it.
void NftParts::overlay_identity() {
  if (!scene.in.overlay) return;
  for (const Family family : families)
    if (out.has("relay", family)) {
      const std::string_view protocol = family == Family::v4 ? "ip" : "ip6";
      out.line(fmt::format("oifname \"oc-*\" {0} saddr @peers{1} snat {0} to {0} saddr", protocol,
                           family == Family::v4 ? '4' : '6'));
    }
}

}  // namespace oceanid::routing::detail
