#pragma once
// The connections of pods that the active exit carries, and what becomes of them at a switch: the
// routing side's flow keeper, made when there is something to keep and fed from what Network knows.
// Without it (no connection tracking events in this kernel) everything else works; clients then
// wait until their own timeouts.
// Lives on netd's event loop.

#include "gateway/config/config.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "routing/core/model.hpp"
#include "routing/edge/flow_keeper.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace oceanid::process {

class RoutedFlows {
 public:
  using Report = std::function<void(const std::string& text)>;
  RoutedFlows(asio::any_io_executor executor, routing::Kernel& kernel, Report report);
  ~RoutedFlows();

  // The state stands in the kernel and its egress table names this device (none: nothing leaves).
  awaitable<void> follow(const routing::RoutingSettings& settings,
                         const routing::NetworkState& state, std::optional<IfName> device,
                         std::chrono::milliseconds keep);
  // Only the egress table's default has changed, and stands.
  void switched_to(const IfName& device);
  // Before a planned switch: what the active exit carries is marked to stay there.
  bool can_pin() const { return keeper_ && watcher_; }
  awaitable<void> pin();
  void end_draining();
  // Tells of connections that carry our mark, exempt ones left out; for others who want to know.
  std::shared_ptr<routing::ConntrackWatcher> watcher() const { return watcher_; }
  bool drained() const { return !keeper_ || keeper_->drained(); }
  // No connection of a former exit is left to be ended; `device`: of the exit that is chosen now.
  bool settled(const std::optional<IfName>& device) const {
    return !keeper_ || keeper_->settled(device);
  }
  void describe(ipc::RoutingView& out) const;
  awaitable<void> stop();  // before destruction

 private:
  void start(const routing::RoutingSettings& settings);

  asio::any_io_executor executor_;
  routing::Kernel& kernel_;
  Report report_;
  std::unique_ptr<routing::FlowKernel> flows_;
  std::unique_ptr<routing::FlowKeeper> keeper_;
  std::shared_ptr<routing::ConntrackWatcher> watcher_;
  routing::FlowScope scope_;
  std::optional<Mark> mark_;  // that was started with
};

}  // namespace oceanid::process
