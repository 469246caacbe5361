#pragma once
// The worker's event loops: one thread, one io_context, one proxy::Server each. Called from the
// worker's main loop only; what goes to a loop is posted there.

#include "gateway/base/runtime/asio.hpp"
#include "proxy/edge/server.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>

namespace oceanid::process {

class ProxyThreads {
 public:
  ProxyThreads(std::uint32_t count, const std::shared_ptr<const proxy::Runtime>& runtime);
  ~ProxyThreads();  // ends the loops without waiting for their work; drain() first

  std::size_t size() const { return loops_.size(); }
  void apply(const std::shared_ptr<const proxy::Runtime>& runtime);
  // Sockets for loop `core` (modulo the number of loops).
  void adopt(std::uint32_t core, std::vector<proxy::ListenSocket> sockets);
  void close_listeners(const std::vector<std::string>& keys);
  awaitable<void> drain(std::chrono::milliseconds patience);
  proxy::StatsSnapshot snapshot() const;
  bool all_beat() const;  // every loop turned within the last few seconds

 private:
  struct Loop {
    asio::io_context io{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    asio::steady_timer beat_timer{io};
    std::atomic<std::chrono::steady_clock::rep> last_beat{0};
    std::unique_ptr<proxy::Server> server;
    std::thread thread;
  };
  static void beat(Loop& loop);

  std::vector<std::unique_ptr<Loop>> loops_;
};

}  // namespace oceanid::process
