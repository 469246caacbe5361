// Resets of connections that an exit took with it when it was lost.
//
// A connection in one of the sets is answered with a reset as soon as its pod sends anything, and
// the waking segment (reset_segment.hpp) sees to it that it does. The elements live long enough for
// a second waking and for a pod that is slow to answer.
//
// Behind connection tracking (-200) and first in `pre`, before the marks: the reset is made while
// the packet's entry is known, so that a network policy in the output hook sees it as part of the
// connection. A SYN is a new connection that happens to have the old one's ports: it takes the
// tuple out of the set.

#include "routing/core/nft_text.hpp"
#include "routing/core/reset_segment.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {

void NftParts::left_behind() {
  if (!scene.steering || scene.in.exits.empty()) return;
  std::vector<std::string> rules;
  for (const Family family : families) {
    const bool four = family == Family::v4;
    if (!four && scene.numbers.ipv6 != Ipv6Mode::exit) continue;
    const char version = four ? '4' : '6';
    out.declare(
        fmt::format("  set reset{0} {{\n    type ipv{0}_addr . inet_service . ipv{0}_addr . "
                    "inet_service; flags dynamic, timeout; timeout {1}s; size {2};\n  }}\n",
                    version, reset_element_life.count(), reset_elements));
    const std::string tuple =
        fmt::format("{0} saddr . tcp sport . {0} daddr . tcp dport", four ? "ip" : "ip6");
    rules.push_back(fmt::format(
        "tcp flags & (syn | ack) == syn {0} @reset{1} delete @reset{1} {{ {0} }} return", tuple,
        version));
    rules.push_back(
        fmt::format("{} @reset{} counter name flows_reset reject with tcp reset", tuple, version));
  }
  out.begin("left_behind");
  for (const std::string& rule : rules)
    out.line(rule);
  out.end();
}

}  // namespace oceanid::routing::detail
