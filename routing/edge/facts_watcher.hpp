#pragma once
// Tells when links, addresses, routes or rules changed under us, whoever did it: rtnetlink's
// multicast groups on the event loop, gathered for 50 ms so that a burst is one call. Notices about
// something of ours are told at once, with who it was. When the kernel had to drop notices
// (ENOBUFS) the call says `resync`: read everything again.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "routing/core/drift.hpp"
#include "routing/edge/netlink_listener.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace oceanid::routing {

struct FactsChange {
  bool links = false;
  bool addresses = false;
  bool routes = false;
  bool rules = false;
  bool settings = false;  // a device's sysctls (forwarding, rp_filter)
  bool resync = false;    // notices were lost: anything may have changed
  // Of what is ours; apart from links, the host's notices above do not count them.
  std::vector<Sign> signs;
  bool host() const { return links || addresses || routes || rules || settings || resync; }
  bool any() const { return host() || !signs.empty(); }
  bool operator==(const FactsChange&) const = default;
};

// What else is ours, beside every rule and route of protocol 131.
struct OwnObjects {
  std::set<std::uint32_t> tables;
  std::set<std::string> links;
  std::map<std::uint32_t, std::string> indexes;  // of links that exist
  bool operator==(const OwnObjects&) const = default;
};

// What a notice says about something of ours; none when it does not. Reads no more than the
// message.
std::optional<Sign> sign_of(const nlmsghdr& message, const OwnObjects& own);
// The process that a netlink port belongs to: libraries give the first socket of a process its id.
Culprit culprit_of(std::uint32_t port);

class FactsWatcher {
 public:
  using Callback = std::function<void(const FactsChange&)>;
  static constexpr std::chrono::milliseconds debounce{50};

  // `own_port`: notices caused by this netlink port (LinuxKernel::port_id) are not told; 0 tells
  // all. The callback runs on `executor` and must outlive the watcher's stop().
  static Result<std::unique_ptr<FactsWatcher>> start(const asio::any_io_executor& executor,
                                                     Callback callback, std::uint32_t own_port = 0);
  void set_own(OwnObjects own) { own_ = std::move(own); }
  awaitable<void> stop();  // before destruction

 private:
  FactsWatcher(const asio::any_io_executor& executor, NetlinkListener listener, Callback callback,
               std::uint32_t own_port);
  awaitable<void> watch();
  void drain(FactsChange& change);
  void note(const nlmsghdr& message, FactsChange& change);

  NetlinkListener listener_;
  Callback callback_;
  std::uint32_t own_port_;
  OwnObjects own_;
  TaskGroup tasks_;
};

}  // namespace oceanid::routing
