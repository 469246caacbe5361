// The switch of the exit while an apply() waits for nft.

#include "routing/core/exit_switch.hpp"
#include "routing/edge/reconciler.hpp"

#include <algorithm>

namespace oceanid::routing {

bool Reconciler::applying() const {
  return std::ranges::any_of(runs_, &Run::under_way);
}

bool Reconciler::leaves_by(const IfName& device, std::uint32_t table) const {
  const auto leads_there = [&](const std::vector<Route>& routes) {
    return std::ranges::any_of(routes, [&](const Route& route) {
      return route.table == table && is_open_default(route) && route.device == device;
    });
  };
  return (standing_ && leads_there(standing_->routes)) ||
         std::ranges::any_of(runs_, [&](const Run* run) {
           return run->under_way && leads_there(run->desired.routes);
         });
}

bool Reconciler::switch_exit(const NetworkState& desired, std::uint32_t table) {
  if (!standing_ || !applying()) return false;
  const auto actual = kernel_.read_actual();
  if (!actual) return false;
  const auto changes = exit_switch(desired, *actual, table);
  const auto is_known = [&](const NetlinkChange& change) {
    const auto* replaced = std::get_if<ReplaceRoute>(&change);
    return !replaced || (is_exit_of(replaced->to, standing_->routes) &&
                         std::ranges::all_of(runs_, [&](const Run* run) {
                           return is_exit_of(replaced->to, run->desired.routes);
                         }));
  };
  if (changes.empty() || !std::ranges::all_of(changes, is_known)) return false;
  for (const NetlinkChange& change : changes) {
    if (!kernel_.apply(change)) return false;
    take_switch(change, standing_->routes);
    for (Run* run : runs_) {
      take_switch(change, run->desired.routes);
      run->switched.push_back(change);
      run->overtaken = run->under_way;
      run->report.overtaken = true;
    }
    offload_stale_ = true;
  }
  return true;
}

bool Reconciler::was_switched(const Change& change, const Run& run) {
  const auto* netlink = std::get_if<NetlinkChange>(&change);
  return netlink && std::ranges::any_of(run.switched, [&](const NetlinkChange& switched) {
           return is_same_default(*netlink, switched);
         });
}

}  // namespace oceanid::routing
