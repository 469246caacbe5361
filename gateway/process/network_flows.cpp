// What becomes of pods' open connections when the exit changes: see routed_flows.hpp.

#include "gateway/process/network.hpp"

#include <chrono>
#include <utility>

namespace oceanid::process {

// Away from an exit that still works there is no hurry: first the rule that keeps its connections
// there and the marks that the rule asks for, then, the next time round, the switch. What begins in
// the milliseconds between loses its exit; its server resets it. One exit is drained at a time.
std::optional<std::size_t> Network::drain_first(std::optional<std::size_t> chosen,
                                                const ExitTable& next) {
  if (!flows_ || !config_.routing) return chosen;
  const auto now = exits_.active;
  const auto lost = [&](std::size_t i) {
    return i >= next.exits.size() || !next.exits[i].usable || i >= exits_.exits.size() ||
           exits_.exits[i].name != next.exits[i].name;
  };
  const bool leaving = now && chosen && now != chosen;
  const bool planned =
      leaving && !lost(*now) && config_.routing->drain.count() > 0 && flows_->can_pin();
  if (!leaving && draining_ == now) draining_.reset();          // the better one has gone again
  if (planned && draining_ == now && !pin_due_) return chosen;  // all is ready for it
  if (draining_ && draining_ != now && flows_->drained()) draining_.reset();
  if (draining_ && (leaving || lost(*draining_))) {
    flows_->end_draining();
    draining_.reset();
    pin_due_ = false;
  }
  if (!planned) return chosen;
  draining_ = now;
  pin_due_ = true;
  return now;
}

// Only what the state has in the kernel counts: of the routes, the egress table's default.
std::optional<IfName> Network::egress_device(const routing::NetworkState& state) const {
  std::optional<IfName> device;
  for (const auto& route : state.routes)
    if (route.table == config_.routing->table && route.type == routing::RouteType::unicast)
      device = route.device;
  return device;
}

awaitable<void> Network::keep_flows(const routing::NetworkState& state) {
  if (!config_.routing || config_.exits.empty()) co_return;
  if (!flows_)
    flows_ = std::make_unique<RoutedFlows>(
        io_.get_executor(), *kernel_,
        [this](const std::string& text) { events_.event("routing", text); });
  using std::chrono::milliseconds;
  const auto keep = draining_ ? config_.routing->drain : milliseconds::zero();
  co_await flows_->follow(*config_.routing, state, egress_device(state), keep);
  if (offload_held_ && flows_settled()) mark_due();
  if (!pin_due_) co_return;
  co_await flows_->pin();
  pin_due_ = false;
  mark_due();
}

// Connections that are to be reset, or to stay with the exit that is drained, must meet the rules
// that see to it, and an older kernel does not let go of an entry that the flowtable uses.
bool Network::flows_settled() const {
  if (!config_.routing || config_.exits.empty()) return true;  // nothing is steered by us
  if (!flows_ || draining_ || pin_due_) return false;
  const auto& active = exits_.active;
  return flows_->settled(active ? exits_.exits[*active].device : std::nullopt);
}

void Network::offload_after_flows(routing::Inputs& inputs) {
  offload_held_ = !inputs.fast.empty() && !flows_settled();
  if (offload_held_) inputs.fast.clear();
}

void Network::note_offload() {
  const bool asked = (config_.routing && config_.routing->flowtable) ||
                     (config_.serve_exit && config_.serve_exit->flowtable);
  const std::string error = asked ? reconciler_->offload_error() : std::string();
  routing_view_.flowtable = !asked                    ? "off"
                            : reconciler_->offloads() ? "in use"
                            : !error.empty()          ? "refused: " + error
                                                      : "waiting";
  // A device that went away in between is refused in the same words; the next look knows better.
  const bool again = std::exchange(offload_error_, error) == error;
  if (!again) mark_due();
  if (!again || error == offload_said_) return;
  offload_said_ = error;
  if (!error.empty())
    warn(
        "flowtable: this kernel does not take it; every packet meets the rule set, as "
        "without it (modprobe -a nft_flow_offload nf_flow_table_inet, then reload): " +
        error);
}

}  // namespace oceanid::process
