#include "routing/core/exit_switch.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::routing {
namespace {

// The route that the change puts or takes away; nullptr when it is about something else.
const Route* route_of(const NetlinkChange& change) {
  if (const auto* added = std::get_if<AddRoute>(&change)) return &added->route;
  if (const auto* replaced = std::get_if<ReplaceRoute>(&change)) return &replaced->to;
  if (const auto* deleted = std::get_if<DeleteRoute>(&change)) return &deleted->route;
  return nullptr;
}

bool is_same_place(const Route& one, const Route& other) {
  return is_open_default(one) && is_open_default(other) && one.family == other.family &&
         one.table == other.table;
}

bool ends_unreachable(const NetworkState& state, const Route& open) {
  return std::ranges::any_of(state.routes, [&](const Route& route) {
    return route.type != RouteType::unicast && route.destination.length() == 0 &&
           route.family == open.family && route.table == open.table;
  });
}

}  // namespace

bool is_open_default(const Route& route) {
  return route.type == RouteType::unicast && route.destination.length() == 0;
}

std::vector<NetlinkChange> exit_switch(const NetworkState& desired, const Actual& actual,
                                       std::uint32_t table) {
  std::vector<NetlinkChange> out;
  for (Change& change : diff(desired, actual).steps) {
    auto* netlink = std::get_if<NetlinkChange>(&change);
    if (!netlink || std::holds_alternative<AddRoute>(*netlink)) continue;
    const Route* route = route_of(*netlink);
    if (route && route->table == table && is_open_default(*route) &&
        ends_unreachable(desired, *route))
      out.push_back(std::move(*netlink));
  }
  return out;
}

bool is_exit_of(const Route& route, const std::vector<Route>& routes) {
  return std::ranges::any_of(routes, [&](const Route& other) {
    return is_open_default(other) && other.device == route.device && other.family == route.family &&
           other.table != route.table;
  });
}

void take_switch(const NetlinkChange& change, std::vector<Route>& routes) {
  const Route* route = route_of(change);
  std::erase_if(routes, [&](const Route& other) { return is_same_place(other, *route); });
  if (std::holds_alternative<DeleteRoute>(change)) return;
  routes.push_back(*route);
  std::ranges::sort(routes);
}

bool is_same_default(const NetlinkChange& one, const NetlinkChange& other) {
  const Route* first = route_of(one);
  const Route* second = route_of(other);
  return first && second && is_same_place(*first, *second);
}

}  // namespace oceanid::routing
