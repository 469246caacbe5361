#include "routing/core/selection.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

Way way_of(const std::string& exit) {
  if (exit == selected_exit) return Way::active;
  return exit == no_exit ? Way::direct : Way::pinned;
}

bool holds(const std::vector<Prefix>& prefixes, const IpAddress& address) {
  return prefixes.empty() || std::ranges::any_of(prefixes, [&](const Prefix& prefix) {
           return prefix.contains(address);
         });
}

bool holds(const RoutingSettings& settings, const IpAddress& address) {
  return std::ranges::any_of(settings.sources,
                             [&](const Prefix& source) { return source.contains(address); });
}

std::string through(const RoutingSettings& settings, const Selector& selector,
                    const std::string& active) {
  if (selector.way == Way::direct) return "by this host's own routes, not through an exit";
  if (selector.way == Way::pinned)
    return fmt::format("through exit {} only, refused while it is down", selector.exit);
  if (!active.empty()) return fmt::format("through the selected exit, now {}", active);
  return settings.kill_switch ? "refused: no exit is usable now"
                              : "by this host's own routes: no exit is usable and routing."
                                "kill_switch is off";
}

}  // namespace

std::vector<Selector> selectors_of(const RoutingSettings& settings) {
  std::vector<Selector> out;
  for (const SelectionRule& rule : settings.selection) {
    const Way way = way_of(rule.exit);
    out.push_back({rule.sources, rule.destinations, rule.ports, rule.protocol, way,
                   way == Way::pinned ? rule.exit : std::string()});
    if (out.back().catches_all()) return out;
  }
  out.push_back({{}, settings.destinations, settings.ports, std::nullopt, Way::active, {}});
  if (!out.back().catches_all()) out.push_back({{}, {}, {}, std::nullopt, Way::direct, {}});
  return out;
}

bool fits(const Selector& selector, const RoutedPacket& packet) {
  constexpr auto tcp = static_cast<std::uint8_t>(Transport::tcp);
  constexpr auto udp = static_cast<std::uint8_t>(Transport::udp);
  if (selector.protocol && packet.protocol != static_cast<std::uint8_t>(*selector.protocol))
    return false;
  if (!selector.ports.empty()) {
    if (packet.protocol != tcp && packet.protocol != udp) return false;
    if (std::ranges::find(selector.ports, packet.port) == selector.ports.end()) return false;
  }
  return holds(selector.sources, packet.source) && holds(selector.destinations, packet.destination);
}

std::size_t first_fit(const std::vector<Selector>& selectors, const RoutedPacket& packet) {
  const auto found = std::ranges::find_if(
      selectors, [&](const Selector& selector) { return fits(selector, packet); });
  return static_cast<std::size_t>(found - selectors.begin());
}

std::string explain_way(const RoutingSettings& settings, const RoutedPacket& packet,
                        const std::string& active) {
  if (!holds(settings, packet.source)) return {};
  const auto among = [&](const std::vector<Prefix>& prefixes) {
    return !prefixes.empty() && holds(prefixes, packet.destination);
  };
  if (among(settings.bypass) || among(settings.exempt4) || among(settings.exempt6) ||
      among(settings.nodes))
    return "by this host's own routes, not through an exit (routing.bypass or routing.nodes)";
  if (!packet.destination.is_v4() && settings.ipv6 == Ipv6Mode::block)
    return "refused (routing.ipv6: block)";
  if (!packet.destination.is_v4() && settings.ipv6 == Ipv6Mode::ignore)
    return "by this host's own routes, not through an exit (routing.ipv6: ignore)";
  const auto selectors = selectors_of(settings);
  const std::size_t index = first_fit(selectors, packet);
  const std::string way = through(settings, selectors.at(index), active);
  if (index < settings.selection.size())
    return fmt::format("{} (routing.selection[{}])", way, index);
  const bool narrow = !settings.destinations.empty() || !settings.ports.empty();
  return narrow ? way + " (routing.destinations and routing.ports)" : way;
}

}  // namespace oceanid::routing
