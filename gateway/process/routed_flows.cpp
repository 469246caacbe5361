#include "gateway/process/routed_flows.hpp"

#include "gateway/base/runtime/log.hpp"
#include "routing/core/marks.hpp"

#include <utility>

namespace oceanid::process {

RoutedFlows::RoutedFlows(asio::any_io_executor executor, routing::Kernel& kernel, Report report)
    : executor_(std::move(executor)), kernel_(kernel), report_(std::move(report)) {}

RoutedFlows::~RoutedFlows() = default;

void RoutedFlows::start(const routing::RoutingSettings& settings) {
  mark_ = settings.mark;
  auto flows = routing::LinuxFlowKernel::open();
  if (!flows) {
    log::warn("routing", "connections of an exit that is lost will not be reset",
              {{"error", flows.error().what}});
    return;
  }
  flows_ = std::move(*flows);
  keeper_ = std::make_unique<routing::FlowKeeper>(executor_, kernel_, *flows_, report_);
  const auto bits = routing::mark_bits(settings.mark);
  keeper_->table().set_draining(bits.draining);
  auto watcher = routing::ConntrackWatcher::start(
      executor_, {.mark = {bits.carried.value, bits.carried.mask | bits.exempt.mask}},
      {&keeper_->table()});
  if (watcher)
    watcher_ = std::move(*watcher);
  else
    log::warn("routing", "connections of an exit that is lost will not be reset",
              {{"error", watcher.error().what}});
}

awaitable<void> RoutedFlows::follow(const routing::RoutingSettings& settings,
                                    const routing::NetworkState& state,
                                    std::optional<IfName> device, std::chrono::milliseconds keep) {
  if (mark_ && mark_ != settings.mark) {
    co_await stop();
    mark_.reset();
  }
  if (!mark_) start(settings);
  if (!keeper_) co_return;
  if (routing::FlowScope scope(state, settings); scope != scope_) {
    scope_ = std::move(scope);
    keeper_->table().set_scope(scope_);
  }
  // While nothing leaves, nothing is reset: the same exit may come back, and its connections live.
  if (device) keeper_->switched_to(*device, keep);
}

void RoutedFlows::switched_to(const IfName& device) {
  if (keeper_) keeper_->switched_to(device);
}

awaitable<void> RoutedFlows::pin() {
  if (keeper_) co_await keeper_->pin(routing::mark_bits(*mark_).draining);
}

void RoutedFlows::end_draining() {
  if (keeper_) keeper_->end_draining();
}

void RoutedFlows::describe(ipc::RoutingView& out) const {
  if (!keeper_) return;
  out.flows = keeper_->table().size();
  out.flows_reset = keeper_->counts().reset;
  out.flows_unknown = keeper_->table().refused();
  if (watcher_) out.flow_overruns = watcher_->counts().overruns;
}

awaitable<void> RoutedFlows::stop() {
  if (watcher_) co_await watcher_->stop();
  if (keeper_) co_await keeper_->stop();
  watcher_.reset();
  keeper_.reset();
  scope_ = {};
}

}  // namespace oceanid::process
