#pragma once
// Watches the connections that this node translates as an exit: ports taken on its addresses, who
// spills to the next one, and what every client has used. Lives on netd's event loop; the kernel
// tells of connections, once a second we look at the sums.

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/config.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "routing/core/exit_flows.hpp"
#include "routing/edge/conntrack_watcher.hpp"
#include "routing/edge/kernel.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace oceanid::process {

class ExitService {
 public:
  using Report = std::function<void(const std::string& text)>;
  struct Reports {
    Report warning;
    Report event;
  };
  ExitService(asio::any_io_executor executor, routing::Kernel& kernel, Reports reports);
  ~ExitService();

  using Watcher = std::shared_ptr<routing::ConntrackWatcher>;
  // What serve_exit wants now; starts, goes on or stops. Where a watcher of connections with our
  // mark runs already, it tells us too: each notice is read once.
  awaitable<void> follow(const Config& config, Watcher shared);
  // The nft tables are new, and their sets empty.
  void sets_replaced() { flows_.budget().forget_spills(); }
  // Connections over serve_exit.per_client that the kernel has refused so far.
  void refused(std::uint64_t total);
  void describe(ipc::GatewaySnapshot& out) const;
  awaitable<void> stop();

 private:
  void start(const Mark& mark, Watcher shared);
  awaitable<void> look();
  awaitable<void> tick();
  awaitable<void> carry_out(const std::vector<routing::Spill>& spills);

  asio::any_io_executor executor_;
  routing::Kernel& kernel_;
  Reports reports_;
  routing::ExitFlows flows_;
  std::optional<Mark> mark_;
  std::vector<IpAddress> addresses_;  // of serve_exit.snat, in order
  bool accounting_ = false;
  std::uint32_t per_client_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t refused_told_ = 0;
  std::optional<std::chrono::steady_clock::time_point> told_at_;
  Watcher watcher_;
  bool owned_ = false;
  std::unique_ptr<TaskGroup> tasks_;
  asio::steady_timer wake_;
  bool stopping_ = false;
};

}  // namespace oceanid::process
