// What brings pods' connections to a transparent listener, and what holds back the packets that
// would go around it.
//
// The verdict of a nat chain falls once for each connection, and only connection tracking carries
// it out: a foreign `notrack`, or a connection from before these rules, is not turned. The chain in
// the forward hook therefore refuses what should never have come so far. A redirect to a port where
// nobody listens is answered by a reset: without the gateway nothing leaves.
//
// TPROXY gives the packet itself to the listener's socket, and the mark brings it there by a route
// of ours (plan_rules.cpp). Nothing is translated, so only the connection's mark tells a later
// packet from one of a connection that was there before these rules. It tells of those, too, whose
// socket is gone: the expression then does not match (nft_tproxy_eval in
// net/netfilter/nft_tproxy.c) and the packet would be forwarded.

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

std::string NftParts::is_taken(bool connection) const {
  return fmt::format("{} mark & 0x{:08x} == 0x{:08x}", connection ? "ct" : "meta",
                     scene.marks.taken.mask, scene.marks.taken.value);
}

void NftParts::untaken(std::string_view answers) {
  out.line(intercepted_from());
  if (!answers.empty()) out.line(answers);
  out.line(has_bit(scene.marks.exempt, false) + " return");
  out.line("fib daddr type { local, broadcast, anycast, multicast } return");
  out.each("", out.in("daddr", "direct"), "return");
  out.each("", out.in("daddr", "exempt"), "return");
}

// One step behind dstnat: the first mapping wins, and an address of a service is kube-proxy's to
// translate.
void NftParts::intercept() {
  if (scene.in.interceptions.empty()) return;
  const auto redirects = [](const Interception& one) { return !one.tproxy; };
  if (std::ranges::any_of(scene.in.interceptions, redirects)) {
    out.begin("intercept", "nat hook prerouting priority dstnat + 1");
    untaken({});
    for (const Interception& one : scene.in.interceptions)
      if (redirects(one)) out.each("", taken(one, "tcp"), fmt::format("redirect to :{}", one.to));
    out.end();
  }
  if (scene.assigns) take_over();
  refuse_around();
}

// A taken connection follows no selection and no exit: its mark takes the place of CARRIED, and
// `pre` leaves it alone from then on.
void NftParts::take_over() {
  out.begin("take_over", "filter hook prerouting priority dstnat + 1");
  untaken("ct direction reply return");
  out.line("ct status dnat return");
  out.line(is_taken(true) + " goto taken");
  out.line("ct state established,related return");
  out.line("goto taken");
  out.end();
  out.begin("taken");
  const auto set = [&](std::string_view which) {
    return fmt::format("{0} mark set {0} mark & 0x{1:08x} | 0x{2:08x}", which,
                       ~scene.marks.taken.mask, scene.marks.taken.value);
  };
  for (const Interception& one : scene.in.interceptions)
    if (one.tproxy)
      for (const std::string& clause : taken(one, "tcp"))
        out.line(fmt::format("{} tproxy {} to :{} {} {} accept", clause,
                             clause.substr(0, clause.find(' ')), one.to, set("meta"), set("ct")));
  out.end();
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
  if (scene.assigns)
    out.line(is_taken(true) +
             " meta l4proto tcp counter name intercept_refused reject with tcp reset");
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
