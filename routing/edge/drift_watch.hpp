#pragma once
// The watch over what is ours in the kernel: listens to rtnetlink and nf_tables, says when a repair
// is due (at once; paced when two programs undo each other's work), and afterwards what had
// happened, who it was and how long it took. The repair itself is the owner's next
// Reconciler::apply.
// Lives on netd's event loop.

#include "gateway/base/runtime/asio.hpp"
#include "routing/core/drift.hpp"
#include "routing/core/facts.hpp"
#include "routing/edge/facts_watcher.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/nft_watcher.hpp"
#include "routing/edge/reconciler.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing {

class DriftWatch {
 public:
  struct Events {
    std::function<void(const FactsChange&)> host_changed;  // gathered; not about us
    std::function<void()> repair_due;                      // repair_at() is set, or is earlier now
  };
  struct Summary {
    DriftCounts counts;
    std::optional<double> last_repair_seconds;
    std::string fight;  // empty: none
    bool events = false;
  };

  // A host on which notices are lost all the time must not have its tables made anew all the time.
  static constexpr std::chrono::seconds usual_lost_interval{60};

  // Both must outlive the watch. What cannot be listened to is said in the log, once.
  DriftWatch(const asio::any_io_executor& executor, LinuxKernel& kernel, Reconciler& reconciler,
             Events events, std::chrono::milliseconds lost_interval = usual_lost_interval);
  ~DriftWatch();
  DriftWatch(const DriftWatch&) = delete;
  DriftWatch& operator=(const DriftWatch&) = delete;

  bool listens() const { return facts_ && nft_; }  // false: only an audit finds everything
  void expect(const NetworkState& desired, const HostFacts& host);
  std::optional<DriftClock::time_point> repair_at() const;

  // Around every apply: what is noticed in between belongs to the next one.
  void begin_repair();
  // Sentences for the log and the list of events.
  std::vector<std::string> repaired(const std::vector<Drift>& drift);
  void failed();

  Summary summary();
  awaitable<void> stop();

 private:
  void on_facts(const FactsChange& change);
  void on_nft(const NftCommit& commit);
  void on_nft_lost();
  void add(Sign sign);
  void schedule();
  std::optional<std::string> note_fight(const std::string& culprit, DriftClock::time_point now);

  LinuxKernel& kernel_;
  Reconciler& reconciler_;
  Events events_;
  std::unique_ptr<FactsWatcher> facts_;
  std::unique_ptr<NftWatcher> nft_;
  std::vector<Sign> signs_;
  std::vector<Sign> at_work_;  // those that the apply under way sees
  std::optional<DriftClock::time_point> repair_at_;
  std::chrono::milliseconds lost_interval_;
  std::optional<DriftClock::time_point> distrusted_at_;  // for notices that were lost
  std::optional<DriftClock::time_point> distrust_at_;    // more were lost since
  RepairPacer pacer_;
  DriftCounts counts_;
  std::optional<double> last_repair_seconds_;
  std::string fight_;
};

}  // namespace oceanid::routing
