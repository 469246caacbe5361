#pragma once
// Makes the kernel match a desired network state and takes all of it away again. Calls are
// serialised; the object belongs to one thread. Nothing is trusted from memory but the text and the
// elements of the nft tables (listing large sets costs most of a second): rules, routes, links and
// sysctls are read from the kernel on every call, so a crash needs no repair.
//
//   apply: read -> diff -> steps, in order -> (on failure) the done steps backwards -> report
//
// Cancelling a call between two steps leaves a state that the order of the steps keeps closed; the
// next apply() completes it.
//
// Files in state_dir: sysctls.json (former values and boot id), applied.nft (text in force, for
// `plan`, without the elements of large sets), last_good.json (for `oceanid guard`). All written
// atomically, mode 0600.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/drift.hpp"
#include "routing/edge/kernel.hpp"
#include "routing/edge/state_files.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::routing {

struct ApplyReport {
  std::size_t changes = 0;  // steps that were carried out
  bool nft = false;         // the nft program ran
  std::chrono::microseconds took{0};
  std::vector<std::string>
      skipped;  // wanted but impossible now (device missing), one sentence each
  std::vector<std::string> warnings;  // sysctls that are not required and could not be written
  std::vector<Drift> drift;           // what others had changed since the last apply
  bool overtaken = false;             // a switch_exit() came between: its exit stands
};

struct DownReport {
  std::size_t changes = 0;
  std::vector<std::string> kept;  // sysctls that stay as they are, and why
};

class Reconciler {
 public:
  // `kernel` must outlive the reconciler.
  Reconciler(const asio::any_io_executor& executor, Kernel& kernel, std::string state_dir);

  // Applying the text in force and changing one default route is one netlink message and no child.
  awaitable<Result<ApplyReport>> apply(NetworkState desired);
  awaitable<Result<std::string>> plan(NetworkState desired);  // changes nothing
  // While an apply() waits for the nft program (seconds, with large sets): the defaults of the
  // egress table become those of `desired` at once, and every apply() that was asked for before
  // ends with them, as it does when it rolls back. Nothing is opened that was closed. False: there
  // is none, or this exit is not known to all of them; the next apply() does it.
  bool switch_exit(const NetworkState& desired, std::uint32_t table);
  bool applying() const;
  // A default of `table` leads to `device`: since the last apply() or switch_exit(), or by the
  // apply() under way, which may have put it there already.
  bool leaves_by(const IfName& device, std::uint32_t table) const;
  // Somebody else wrote to our nft tables: the next apply() makes them anew.
  void distrust_nft();
  // The flowtable is a help, not a condition: what the kernel refuses is left out, and not asked
  // for again until the text changes or this is called.
  void retry_offload() { offload_refused_.clear(); }
  bool offloads() const { return offload_ && !offload_->empty(); }
  const std::string& offload_error() const { return offload_error_; }  // empty: none
  // Rules, routes, nft tables, then sysctls that still hold what we wrote since this boot.
  // Forwarding stays on when somebody else needs it (other_forwarder). Tunnel devices, and with
  // them their MTU and addresses, belong to the tunnel side.
  awaitable<Result<DownReport>> down();

  Result<void> save_last_good(const NetworkState& state) const;
  Result<NetworkState> load_last_good() const;  // not_found: nothing saved yet

 private:
  class Lock {
   public:
    explicit Lock(Reconciler* owner) : owner_(owner) {}
    Lock(Lock&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Lock& operator=(Lock&&) = delete;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() {
      if (!owner_) return;
      owner_->held_ = false;
      owner_->turn_.cancel_one();
    }

   private:
    Reconciler* owner_;
  };
  struct Run;
  class Listed {
   public:
    Listed(std::vector<Run*>& runs, Run* run) : runs_(runs), run_(run) { runs_.push_back(run); }
    Listed(const Listed&) = delete;
    Listed& operator=(const Listed&) = delete;
    ~Listed() { std::erase(runs_, run_); }

   private:
    std::vector<Run*>& runs_;
    Run* run_;
  };
  struct Run {
    NetworkState desired;
    bool under_way = false;               // it has the lock
    bool overtaken = false;               // steps that were computed before are not to be done
    std::vector<NetlinkChange> switched;  // by switch_exit() since it was asked for
    std::vector<Change> done;
    std::vector<Change> refused;  // by the kernel, without being an error
    std::optional<Actual> standing;
    ApplyReport report;
  };
  awaitable<Lock> lock();
  Result<Actual> read(const NetworkState& desired);
  awaitable<Result<void>> converge(Run& run);
  awaitable<Result<void>> carry_out(const Changes& changes, Run& run);
  static bool was_switched(const Change& change, const Run& run);
  awaitable<Result<void>> step(const Change& change, Run& run);
  awaitable<Result<void>> replace_nft(NftTables tables);
  awaitable<Result<void>> change_elements(const ChangeElements& change, Run& run);
  awaitable<Result<void>> replace_offload(const ReplaceOffload& change, Run& run);
  awaitable<Result<void>> write_offload(std::string text);
  void keep_tables(NftTables tables);
  Result<void> netlink_steps(std::span<const Change> changes, Run& run);
  Result<void> note_netlink(const NetlinkChange& change, Result<void> done, Run& run);
  Result<void> sysctl_step(const WriteSysctl& change, Run& run);
  awaitable<std::string> roll_back(const Run& run);  // what could not be undone; empty: all was
  std::optional<SavedSysctls> recall_sysctls(std::vector<std::string>& warnings) const;
  Result<void> remember_sysctls(const Changes& changes);
  std::size_t restore_sysctls(const NetworkState& keep, std::vector<std::string>& kept);

  asio::steady_timer turn_;  // never expires; cancelled when the one inside leaves
  bool held_ = false;
  std::vector<Run*> runs_;  // calls of apply(): the one that has the lock and those that wait
  Kernel& kernel_;
  StateFiles files_;
  std::optional<NftTables> nft_tables_;    // in force since our last commit
  std::optional<std::string> saved_text_;  // applied.nft, as we wrote it
  std::uint64_t nft_stamp_ = 0;            // of the tables after that commit
  bool nft_touched_ = false;               // by somebody else since
  std::uint64_t nft_touches_ = 0;          // how often, ever
  std::optional<std::string> offload_;     // likewise, of the flowtable's table
  std::uint64_t offload_stamp_ = 0;
  bool offload_stale_ = false;   // it holds connections of the exit before
  std::string offload_refused_;  // a text that the kernel did not take
  std::string offload_error_;
  std::optional<Actual> standing_;  // after the last apply() that went well
};

}  // namespace oceanid::routing
