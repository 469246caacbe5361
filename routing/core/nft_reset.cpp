// Resets of connections that an exit took with it when it was lost.
//
// A connection in one of the sets is answered with a reset as soon as its pod sends anything, and
// the waking segment (reset_segment.hpp) sees to it that it does. The elements live long enough for
// a second waking and for a pod that is slow to answer.
//
// Behind connection tracking (-200) and before the marks of pods: the reset is made while
// the packet's entry is known, so that a network policy in the output hook sees it as part of the
// connection. A SYN is a new connection that happens to have the old one's ports: it takes the
// tuple out of the set.

#include "routing/core/nft_text.hpp"
#include "routing/core/reset_segment.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

char digit(Family family) {
  return family == Family::v4 ? '4' : '6';
}

std::string tuple(Family family) {
  return fmt::format("{0} saddr . tcp sport . {0} daddr . tcp dport",
                     family == Family::v4 ? "ip" : "ip6");
}

}  // namespace

// A segment of such a connection, one clause for each family.
std::vector<std::string> NftParts::reset_segments() {
  std::vector<std::string> clauses;
  for (const Family family : families)
    if (family == Family::v4 || scene.numbers.ipv6 == Ipv6Mode::exit)
      clauses.push_back(fmt::format("{} @reset{}", tuple(family), digit(family)));
  return clauses;
}

void NftParts::left_behind() {
  if (scene.in.exits.empty()) return;
  out.begin("left_behind");
  for (const Family family : families) {
    if (family == Family::v6 && scene.numbers.ipv6 != Ipv6Mode::exit) continue;
    out.declare(
        fmt::format("  set reset{0} {{\n    type ipv{0}_addr . inet_service . ipv{0}_addr . "
                    "inet_service; flags dynamic, timeout; timeout {1}s; size {2};\n  }}\n",
                    digit(family), reset_element_life.count(), reset_elements));
    out.line(fmt::format("tcp flags & (syn | ack) == syn delete @reset{} {{ {} }} return",
                         digit(family), tuple(family)));
  }
  out.line("counter name flows_reset reject with tcp reset");
  out.end();
}

}  // namespace oceanid::routing::detail
