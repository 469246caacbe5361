#pragma once
// The worker's event loops: one thread, one io_context, one proxy::Server each. Called from the
// worker's main loop only; what goes to a loop is posted there.

#include "gateway/base/runtime/asio.hpp"
#include "proxy/edge/server.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

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

  // Runs `ask` for the server of each loop, on that loop; what they said, in the loops' order.
  template <typename Answer>
  awaitable<std::vector<Answer>> on_each(std::function<Answer(proxy::Server&)> ask) {
    std::vector<Answer> answers(loops_.size());
    std::size_t open = loops_.size();
    const auto here = co_await asio::this_coro::executor;
    asio::steady_timer all_done(here, asio::steady_timer::time_point::max());
    for (std::size_t i = 0; i < loops_.size(); ++i)
      asio::post(loops_[i]->io, [&, i] {
        asio::post(here, [&, i, answer = ask(*loops_[i]->server)]() mutable {
          answers[i] = std::move(answer);
          if (--open == 0) all_done.cancel();
        });
      });
    do
      static_cast<void>(co_await all_done.async_wait(as_result));  // cancelled by the last one
    while (std::as_const(open) > 0);
    co_return answers;
  }
  // By the first loop: all have the same configuration, and a resolver each.
  awaitable<Result<proxy::Explanation>> explain(proxy::ExplainQuery query);
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
