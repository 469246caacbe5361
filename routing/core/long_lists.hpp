#pragma once
// Long lists of destinations. An `ip rule` for each would be looked at one after the other for
// every packet (13 to 20 ns each, measured) and must be made one by one; nftables finds an element
// among 100,000 in under half a microsecond. So only the first few stay rules, and the rest is
// exempted by a mark that our prerouting chain sets. A mark only ever opens: without our ruleset
// what it would exempt takes the exit. Pure.

#include "routing/core/settings.hpp"

#include <vector>

namespace oceanid::routing {

// Up to here every prefix of routing.bypass is a rule.
inline constexpr std::size_t most_rules = 64;

// Gives `settings` this bypass list. Above most_rules only private ranges and the tailnet stay in
// `bypass`, so that a flushed ruleset does not cut pods from the cluster, and of those the first
// most_rules; everything else goes to `exempt4` and `exempt6`. Depends on nothing but the list:
// adding one destination never turns another from a mark to a rule.
void set_bypass(RoutingSettings& settings, std::vector<Prefix> prefixes);
// All of it again, in no particular order.
std::vector<Prefix> whole_bypass(const RoutingSettings& settings);

// Destinations in normal() form when they are many.
void set_destinations(RoutingSettings& settings, std::vector<Prefix> prefixes);

}  // namespace oceanid::routing
