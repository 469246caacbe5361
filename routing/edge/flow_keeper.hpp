#pragma once
// Keeps track of pods' connections through the active exit, and ends those of an exit that was
// given up, so that their clients connect anew at once instead of waiting for an answer that will
// not come: tuple into the set that resets, a waking segment, and a moment later the entry out of
// connection tracking. At most 20,000 a second. On the event loop; never waits.

#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "routing/core/flow_table.hpp"
#include "routing/edge/conntrack_watcher.hpp"
#include "routing/edge/flow_kernel.hpp"
#include "routing/edge/kernel.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace oceanid::routing {

class FlowKeeper {
 public:
  struct Counts {
    std::uint64_t reset = 0;      // TCP
    std::uint64_t forgotten = 0;  // of other protocols: entries removed
    std::uint64_t failed = 0;     // waking or removing was refused
  };
  using Report = std::function<void(const std::string& text)>;

  // A connection is woken again after this long, should its pod have been allowed no answer: Linux
  // answers one stray segment in 500 ms (tcp_invalid_ratelimit).
  static constexpr std::chrono::milliseconds again{600};

  // All three outlive this object's stop(). `report` hears of every round of resets when it is
  // over.
  FlowKeeper(const asio::any_io_executor& executor, Kernel& kernel, FlowKernel& flows,
             Report report);
  ~FlowKeeper();
  FlowKeeper(const FlowKeeper&) = delete;
  FlowKeeper& operator=(const FlowKeeper&) = delete;

  FlowTable& table() { return table_; }
  // The route to `device` stands. What went by another one is reset, now or not before `keep` is
  // over, counted from the first time it was told of; after that `drained` is true again.
  void switched_to(const IfName& device, std::chrono::milliseconds keep = {});
  void end_draining();  // the exit that is drained was lost
  // Marks all connections by the device that is followed, so that a rule keeps them there.
  awaitable<void> pin(const Mark& mark);
  bool drained() const { return !keep_until_ && table_.left_behind() == 0; }

  // Nothing is left to be ended, and no switch away from this device is known to us alone.
  bool settled(const std::optional<IfName>& device) const;

  const Counts& counts() const { return counts_; }
  awaitable<void> stop();  // before destruction

 private:
  struct Round {
    std::chrono::steady_clock::time_point due;
    std::vector<Flow> flows;
  };
  awaitable<void> work();
  awaitable<void> first_round();
  awaitable<void> second_round(std::vector<Flow> flows);
  awaitable<void> refuse(const std::vector<Flow>& flows);
  awaitable<void> breathe();
  void note(const Result<void>& done);

  Kernel& kernel_;
  FlowKernel& flows_;
  Report report_;
  FlowTable table_;
  Counts counts_;
  Counts reported_;
  bool due_ = false;
  std::chrono::steady_clock::time_point switched_at_;
  std::optional<std::chrono::steady_clock::time_point> keep_until_;
  bool stopping_ = false;
  std::string error_;  // the last one
  unsigned steps_ = 0;
  std::deque<Round> again_;
  asio::steady_timer wake_;
  TaskGroup tasks_;
};

}  // namespace oceanid::routing
