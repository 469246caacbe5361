#include "routing/core/long_lists.hpp"

#include "routing/core/named_set.hpp"
#include "routing/core/special_ranges.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::routing {
namespace {

// Pods, services, nodes and the tailnet of a usual cluster.
bool is_inside(const Prefix& prefix) {
  static const Prefix tailnet = Prefix::parse("100.64.0.0/10").value();
  return is_private(prefix) || tailnet.contains(prefix);
}

}  // namespace

void set_bypass(RoutingSettings& settings, std::vector<Prefix> prefixes) {
  settings.exempt4 = settings.exempt6 = {};
  settings.exempts_private = false;
  if (prefixes.size() <= most_rules) {
    settings.bypass = std::move(prefixes);
    return;
  }
  std::vector<Prefix> rules;
  std::vector<Prefix> marked4;
  std::vector<Prefix> marked6;
  for (const Prefix& prefix : prefixes) {
    const bool inside = is_inside(prefix);
    if (inside && rules.size() < most_rules) {
      rules.push_back(prefix);
      continue;
    }
    settings.exempts_private |= inside;
    (prefix.family() == Family::v4 ? marked4 : marked6).push_back(prefix);
  }
  settings.bypass = std::move(rules);
  settings.exempt4 = normal(std::move(marked4));
  settings.exempt6 = normal(std::move(marked6));
}

std::vector<Prefix> whole_bypass(const RoutingSettings& settings) {
  std::vector<Prefix> out = settings.bypass;
  out.reserve(out.size() + settings.exempt4.size() + settings.exempt6.size());
  out.insert(out.end(), settings.exempt4.begin(), settings.exempt4.end());
  out.insert(out.end(), settings.exempt6.begin(), settings.exempt6.end());
  return out;
}

void set_destinations(RoutingSettings& settings, std::vector<Prefix> prefixes) {
  settings.destinations =
      prefixes.size() > most_rules ? normal(std::move(prefixes)) : std::move(prefixes);
}

}  // namespace oceanid::routing
