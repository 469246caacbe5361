// Cross checks of `routing.selection`, `routing.destinations` and `routing.ports`.
#include "gateway/config/checks.hpp"
#include "routing/core/selection.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::config {
namespace {

using routing::SelectionRule;

// Every combination is a routing rule, and the kernel asks them one after the other for each
// packet that takes a new route: a few hundred cost a microsecond or two.
constexpr std::size_t most_rules = 512;
constexpr std::size_t most_destinations = 64;

bool has_family(const std::vector<Prefix>& prefixes, Family family) {
  return prefixes.empty() || std::ranges::any_of(prefixes, [&](const Prefix& prefix) {
           return prefix.family() == family;
         });
}

std::size_t rules_of(const routing::Selector& selector, std::size_t sources) {
  const std::size_t protocols = !selector.protocol && !selector.ports.empty() ? 2 : 1;
  const auto at_least_one = [](std::size_t count) { return std::max<std::size_t>(count, 1); };
  const std::size_t from = selector.sources.empty() ? sources : selector.sources.size();
  // Of a longer list of destinations no rules are made.
  const std::size_t to =
      selector.destinations.size() > most_destinations ? 1 : selector.destinations.size();
  return at_least_one(from) * at_least_one(to) * at_least_one(selector.ports.size()) * protocols;
}

}  // namespace

void Checker::selection() {
  const auto& routing = *config_.routing;
  const auto& rules = routing.selection;
  for (std::size_t i = 0; i < rules.size(); ++i)
    selection_rule(item_path("routing.selection", i), rules[i]);
  if (rules.size() > routing::most_selection_rules)
    add("routing.selection", fmt::format("found {} lines; allowed: up to {}", rules.size(),
                                         routing::most_selection_rules));
  const auto selectors = routing::selectors_of(routing);
  const auto all = std::ranges::find_if(selectors, &routing::Selector::catches_all);
  const auto last = static_cast<std::size_t>(all - selectors.begin());
  if (last + 1 < rules.size())
    add(item_path("routing.selection", last + 1),
        fmt::format("found behind a line that fits everything (routing.selection[{}]); allowed: "
                    "before it",
                    last));
  const bool narrow = !routing.destinations.empty() || !routing.ports.empty();
  if (last < rules.size() && narrow)
    add(item_path("routing.selection", last),
        "found to fit everything, so that routing.destinations and routing.ports have no effect; "
        "allowed: one or the other");
  std::size_t count = 0;
  for (const auto& selector : selectors)
    count += rules_of(selector, routing.sources.size());
  count *= std::max<std::size_t>(routing.interfaces.size(), 1);
  if (count > most_rules && clean("routing.destinations"))
    add(rules.empty() ? "routing.ports" : "routing.selection",
        fmt::format("found {} combinations of sources, destinations and ports, each a routing "
                    "rule; allowed: up to {}",
                    count, most_rules));
}

void Checker::selection_rule(const std::string& path, const SelectionRule& rule) {
  if (!clean(path)) return;
  const auto& routing = *config_.routing;
  if (rule.exit != routing::selected_exit && rule.exit != routing::no_exit)
    exit_name(path + ".exit", rule.exit);
  for (std::size_t i = 0; i < rule.sources.size(); ++i) {
    const Prefix& source = rule.sources[i];
    if (std::ranges::none_of(routing.sources,
                             [&](const Prefix& pods) { return pods.contains(source); }))
      add(item_path(path + ".sources", i),
          found_but(source.to_string(), "a part of routing.sources"));
  }
  if (rule.destinations.size() > most_destinations)
    add(path + ".destinations",
        fmt::format("found {} prefixes; allowed: up to {}; routing.destinations takes more",
                    rule.destinations.size(), most_destinations));
  for (std::size_t i = 0; i < rule.destinations.size(); ++i)
    if (rule.destinations[i].family() == Family::v6 && routing.ipv6 != routing::Ipv6Mode::exit)
      add(item_path(path + ".destinations", i),
          fmt::format("found {} without effect; allowed: with routing.ipv6: exit",
                      rule.destinations[i].to_string()));
  const auto both = [&](Family family) {
    return has_family(rule.sources, family) && has_family(rule.destinations, family);
  };
  if (!both(Family::v4) && !both(Family::v6))
    add(path + ".destinations",
        "found IPv4 on one side and IPv6 on the other; allowed: sources and destinations of one "
        "family");
}

}  // namespace oceanid::config
