#pragma once
// Reads how full the kernel's table of connections is, in this network namespace: three short
// files under /proc, some ten microseconds.

#include "routing/core/conntrack_figures.hpp"

namespace oceanid::routing {

// None without connection tracking.
std::optional<ConntrackFigures> read_conntrack_figures();

}  // namespace oceanid::routing
