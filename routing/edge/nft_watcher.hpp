#pragma once
// Tells when somebody else changed our nft tables: the multicast group of nf_tables on the event
// loop. Every commit ends with a message that carries its generation, process id and process name;
// the messages before it say what was done to which table. Commits that leave our tables alone
// (kube-proxy's, many a minute) and our own cost a glance each and are not told.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "routing/core/drift.hpp"
#include "routing/edge/netlink_listener.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace oceanid::routing {

struct NftCommit {
  std::uint32_t generation = 0;
  std::uint32_t port = 0;         // netlink port of the writer: its process id in its own namespace
  Culprit culprit;                // process id in the machine's first namespace
  std::vector<NftTouch> touches;  // of our tables
  bool operator==(const NftCommit&) const = default;
};

// From messages to commits. No I/O.
class NftCommits {
 public:
  // The commit that `message` ends, if it does.
  std::optional<NftCommit> take(const nlmsghdr& message);
  void lost();  // notices were dropped: what was gathered is not a whole commit

 private:
  std::vector<NftTouch> touches_;
};

// Which commits are our own: those of the nft children that we start and of our own sockets.
class NftWriters {
 public:
  // Longer than a child may run; after it another process may have its number.
  static constexpr std::chrono::seconds memory{60};
  explicit NftWriters(std::vector<std::uint32_t> ports) : ports_(std::move(ports)) {}
  void started(std::uint32_t pid, DriftClock::time_point now);
  bool wrote(const NftCommit& commit, DriftClock::time_point now);  // a child commits once

 private:
  struct Child {
    std::uint32_t pid = 0;
    DriftClock::time_point started;
  };
  std::vector<std::uint32_t> ports_;
  std::vector<Child> children_;
};

class NftWatcher {
 public:
  struct Events {
    std::function<void(const NftCommit&)> touched;  // by somebody else
    std::function<void()> lost;                     // anything may have happened
  };
  // `own_ports`: of our sockets to nf_tables. Needs CAP_NET_ADMIN: without it the kernel refuses
  // the group.
  static Result<std::unique_ptr<NftWatcher>> start(const asio::any_io_executor& executor,
                                                   Events events,
                                                   std::vector<std::uint32_t> own_ports = {});
  void child_started(std::uint32_t pid) { writers_.started(pid, DriftClock::now()); }
  awaitable<void> stop();  // before destruction

 private:
  NftWatcher(const asio::any_io_executor& executor, NetlinkListener listener, Events events,
             std::vector<std::uint32_t> own_ports);
  awaitable<void> watch();
  void take(const nlmsghdr& message);

  NetlinkListener listener_;
  Events events_;
  NftCommits commits_;
  NftWriters writers_;
  TaskGroup tasks_;
};

}  // namespace oceanid::routing
