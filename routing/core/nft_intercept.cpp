// What brings pods' connections to a transparent listener, and what holds back the packets that
// would go around it.
//
// The verdict of a nat chain falls once for each connection, and only connection tracking carries
// it out: a foreign `notrack`, or a connection from before these rules, is not turned. The chain in
// the forward hook therefore refuses what should never have come so far. A redirect to a port where
// nobody listens is answered by a reset: without the gateway nothing leaves.

#include "routing/core/nft_text.hpp"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

namespace oceanid::routing::detail {

// Sources and ports stand in the rules themselves: a named set could be emptied under them.
std::vector<std::string> NftParts::taken(const Interception& one, std::string_view protocol) const {
  std::vector<std::string> clauses;
  for (const Family family : families) {
    const Prefixes sources = of_family(unique(one.sources), family);
    if (sources.empty()) continue;
    clauses.push_back(fmt::format("{} saddr {} {} dport {{ {} }}",
                                  family == Family::v4 ? "ip" : "ip6", inline_set(sources),
                                  protocol, fmt::join(one.ports, ", ")));
  }
  return clauses;
}

// A bridged frame that bridge-nf-call-iptables hands over carries the bridge's name, as a routed
// packet does: the name of a port of it is never seen here.
std::string NftParts::intercepted_from() const {
  return scene.pods.empty() ? std::string("iifname { \"lo\", \"oc-*\" } return")
                            : fmt::format("iifname != {} return", names(scene.pods));
}

// One step behind dstnat: the first mapping wins, and an address of a service is kube-proxy's to
// translate.
void NftParts::intercept() {
  if (scene.in.interceptions.empty()) return;
  out.begin("intercept", "nat hook prerouting priority dstnat + 1");
  out.line(intercepted_from());
  out.line(has_bit(scene.marks.exempt, false) + " return");
  out.line("fib daddr type { local, broadcast, anycast, multicast } return");
  out.each("", out.in("daddr", "direct"), "return");
  out.each("", out.in("daddr", "exempt"), "return");
  for (const Interception& one : scene.in.interceptions)
    out.each("", taken(one, "tcp"), fmt::format("redirect to :{}", one.to));
  out.end();
  refuse_around();
}

// UDP to the same ports is QUIC (RFC 9000), which would carry the same requests past the policy;
// clients that meet a closed port fall back to TCP (RFC 9308, section 2).
void NftParts::refuse_around() {
  out.begin("around_listeners", "filter hook forward priority filter - 6");
  out.line(intercepted_from());
  out.line("ct direction reply return");
  // What selection lets go without an exit carries the mark, too, and is taken all the same.
  if (!scene.selecting) out.line(has_bit(scene.marks.exempt, false) + " return");
  out.each("", out.in("daddr", "direct"), "return");
  out.each("", out.in("daddr", "exempt"), "return");
  out.line("ct status dnat return");
  for (const Interception& one : scene.in.interceptions) {
    out.each("", taken(one, "tcp"),
             "ct state != { established, related } counter name intercept_refused reject with tcp "
             "reset");
    out.each("", taken(one, "udp"),
             "counter name intercept_refused reject with icmpx port-unreachable");
  }
  out.end();
}

}  // namespace oceanid::routing::detail
