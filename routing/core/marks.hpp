#pragma once
// The bits that we use inside the operator's mark mask, counted from the mask's lowest bit. Each is
// matched and set under itself only, so that foreign bits and our own other bits survive.

#include "gateway/base/net_types.hpp"

#include <bit>

namespace oceanid::routing {

struct MarkBits {
  Mark exempt;       // 1: packet of a connection that somebody opened towards a pod
  Mark intercepted;  // 2: taken over by a transparent listener
  Mark underlay;     // 4: the tunnels' own outer packets
  Mark carried;      // 8: our ruleset has seen this packet and will translate it
  // 8 and 2: stays with the exit that is being drained. What a listener takes over is never steered
  // to an exit itself, so the two together are free for this.
  Mark draining;
  // 2 without 8: of a connection that was brought to a transparent listener as it is.
  Mark taken;
};

// A mask of fewer than four adjacent bits is refused by conflicts().
inline MarkBits mark_bits(const Mark& mark) {
  const int shift = mark.mask == 0 ? 0 : std::countr_zero(mark.mask);
  const auto bit = [shift](unsigned number) {
    const std::uint32_t value = (std::uint32_t{1} << number) << shift;
    return Mark{value, value};
  };
  const std::uint32_t both = bit(1).value | bit(3).value;
  return {bit(0), bit(1), bit(2), bit(3), Mark{both, both}, Mark{bit(1).value, both}};
}

}  // namespace oceanid::routing
