#pragma once
// Tells observers of the connections whose mark matches: ctnetlink's multicast groups on the event
// loop, a dump at the start and another one whenever the kernel had to drop notices (ENOBUFS).
// Needs CAP_NET_ADMIN. Belongs to one thread.
//
// The kernel sorts out (flow_filter), so that a node full of other connections costs us nothing.
// Entries from before any program listened have no notice of their end (nf_conntrack_events=2): an
// observer learns of that by the next dump only.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "routing/core/conntrack.hpp"

#include <cstdint>
#include <memory>
#include <unordered_set>
#include <vector>

struct nlmsghdr;

namespace oceanid::routing {

class ConntrackWatcher {
 public:
  struct Options {
    Mark mark;            // flows with this value under this mask; the value is not zero
    bool begins = true;   // flow_begun
    bool updates = true;  // flow_updated: TCP that becomes established, or comes to its end
    // For notices that wait for us: some 16,000 of them, more than a second of 10,000 flows/s.
    int receive_buffer = 16 << 20;
  };
  struct Counts {
    std::uint64_t events = 0;
    std::uint64_t overruns = 0;  // times that notices were lost
    std::uint64_t dumps = 0;     // complete ones
    bool operator==(const Counts&) const = default;
  };

  // The observers outlive stop().
  static Result<std::unique_ptr<ConntrackWatcher>> start(const asio::any_io_executor& executor,
                                                         Options options,
                                                         std::vector<FlowObserver*> observers);
  ~ConntrackWatcher();
  ConntrackWatcher(const ConntrackWatcher&) = delete;
  ConntrackWatcher& operator=(const ConntrackWatcher&) = delete;

  // From now on this one is told as well, by a dump first; the others are told that again, too.
  void join(FlowObserver& observer);
  void leave(FlowObserver& observer);
  const Counts& counts() const { return counts_; }
  awaitable<void> stop();  // before destruction

 private:
  struct Socket;
  ConntrackWatcher(const asio::any_io_executor& executor, Options options,
                   std::unique_ptr<Socket> socket, std::vector<FlowObserver*> observers);
  awaitable<void> watch();
  awaitable<void> dump_when_due();
  awaitable<Result<void>> dump();
  Result<bool> take_dump_part(const nlmsghdr& first, std::size_t bytes);
  void take(const nlmsghdr& message, bool dumped);
  bool drain();
  void lost_notices();

  Options options_;
  std::unique_ptr<Socket> socket_;
  std::vector<FlowObserver*> observers_;
  Counts counts_;
  bool dump_due_ = true;
  bool dumping_ = false;
  bool stopping_ = false;
  // Ended while a dump was under way that may still name them.
  std::unordered_set<std::uint64_t> ended_;
  asio::steady_timer dump_wake_;
  TaskGroup tasks_;
};

}  // namespace oceanid::routing
