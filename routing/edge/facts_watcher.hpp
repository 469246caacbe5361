#pragma once
// Tells when links, addresses, routes or rules changed under us, whoever did it: rtnetlink's
// multicast groups on the event loop, gathered for 50 ms so that a burst is one call. When the
// kernel had to drop notices (ENOBUFS) the call says `resync`: read everything again.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/task_group.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace oceanid::routing {

struct FactsChange {
  bool links = false;
  bool addresses = false;
  bool routes = false;
  bool rules = false;
  bool resync = false;  // notices were lost: anything may have changed
  bool any() const { return links || addresses || routes || rules || resync; }
  bool operator==(const FactsChange&) const = default;
};

class FactsWatcher {
 public:
  using Callback = std::function<void(const FactsChange&)>;
  static constexpr std::chrono::milliseconds debounce{50};

  // `own_port`: notices caused by this netlink port (LinuxKernel::port_id) are not told; 0 tells
  // all. The callback runs on `executor` and must outlive the watcher's stop().
  static Result<std::unique_ptr<FactsWatcher>> start(const asio::any_io_executor& executor,
                                                     Callback callback, std::uint32_t own_port = 0);
  ~FactsWatcher();
  FactsWatcher(const FactsWatcher&) = delete;
  FactsWatcher& operator=(const FactsWatcher&) = delete;

  awaitable<void> stop();  // before destruction

 private:
  struct Socket;
  FactsWatcher(const asio::any_io_executor& executor, std::unique_ptr<Socket> socket,
               Callback callback, std::uint32_t own_port);
  awaitable<void> watch();
  void drain(FactsChange& change);

  std::unique_ptr<Socket> socket_;
  Callback callback_;
  std::uint32_t own_port_;
  TaskGroup tasks_;
};

}  // namespace oceanid::routing
