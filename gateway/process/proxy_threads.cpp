#include "gateway/process/proxy_threads.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <optional>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr auto beat_interval = 500ms;
constexpr auto beat_patience = 5s;
constexpr auto explain_patience = 15s;

}  // namespace

ProxyThreads::ProxyThreads(std::uint32_t count,
                           const std::shared_ptr<const proxy::Runtime>& runtime) {
  const proxy::Commons commons{std::make_shared<proxy::TunnelLedger>(),
                               std::make_shared<proxy::BreakerBook>()};
  for (std::uint32_t i = 0; i < std::max(count, 1U); ++i) {
    auto& loop = *loops_.emplace_back(std::make_unique<Loop>());
    loop.server = std::make_unique<proxy::Server>(loop.io, runtime, commons);
    loop.last_beat = Clock::now().time_since_epoch().count();
    beat(loop);
    loop.thread = std::thread([&loop] { loop.io.run(); });
  }
}

ProxyThreads::~ProxyThreads() {
  for (auto& loop : loops_)
    loop->io.stop();
  for (auto& loop : loops_)
    loop->thread.join();
}

void ProxyThreads::beat(Loop& loop) {
  loop.beat_timer.expires_after(beat_interval);
  loop.beat_timer.async_wait([&loop](error_code ec) {
    if (ec) return;
    loop.last_beat = Clock::now().time_since_epoch().count();
    beat(loop);
  });
}

bool ProxyThreads::all_beat() const {
  const auto oldest = (Clock::now() - beat_patience).time_since_epoch().count();
  return std::ranges::all_of(loops_, [&](const auto& loop) { return loop->last_beat > oldest; });
}

void ProxyThreads::apply(const std::shared_ptr<const proxy::Runtime>& runtime) {
  for (auto& loop : loops_)
    asio::post(loop->io, [server = loop->server.get(), runtime] { server->apply(runtime); });
}

void ProxyThreads::adopt(std::uint32_t core, std::vector<proxy::ListenSocket> sockets) {
  auto& loop = *loops_[core % loops_.size()];
  asio::post(loop.io, [server = loop.server.get(), sockets = std::move(sockets)]() mutable {
    server->adopt(std::move(sockets));
  });
}

void ProxyThreads::close_listeners(const std::vector<std::string>& keys) {
  if (keys.empty()) return;
  for (auto& loop : loops_)
    asio::post(loop->io, [server = loop->server.get(), keys] { server->close_listeners(keys); });
}

awaitable<void> ProxyThreads::drain(std::chrono::milliseconds patience) {
  // Each loop drains on its own thread; this loop only waits for the last one.
  std::size_t open = loops_.size();
  asio::steady_timer all_done(co_await asio::this_coro::executor);
  all_done.expires_at(asio::steady_timer::time_point::max());
  const auto here = co_await asio::this_coro::executor;
  for (auto& loop : loops_) {
    auto finished = [&open, &all_done, here](const std::exception_ptr& failure) {
      if (failure) log::error("proxy", "draining a loop failed");
      asio::post(here, [&open, &all_done] {
        if (--open == 0) all_done.cancel();
      });
    };
    asio::co_spawn(loop->io, loop->server->drain(patience), std::move(finished));
  }
  while (open > 0) {
    auto [ec] = co_await all_done.async_wait(as_result);
    static_cast<void>(ec);  // cancelled by the last loop
  }
}

awaitable<Result<proxy::Explanation>> ProxyThreads::explain(proxy::ExplainQuery query) {
  struct Waiting {
    explicit Waiting(const asio::any_io_executor& here) : answered(here) {}
    asio::steady_timer answered;
    std::optional<Result<proxy::Explanation>> answer;
  };
  const auto here = co_await asio::this_coro::executor;
  const auto waiting = std::make_shared<Waiting>(here);  // the answer may come after our patience
  auto done = [waiting, here](Result<proxy::Explanation> answer) {
    asio::post(here, [waiting, answer = std::move(answer)]() mutable {
      waiting->answer = std::move(answer);
      waiting->answered.cancel();
    });
  };
  auto& loop = *loops_.front();
  waiting->answered.expires_after(explain_patience);
  asio::post(loop.io, [server = loop.server.get(), query = std::move(query),
                       done = std::move(done)]() mutable {
    server->explain(std::move(query), std::move(done));
  });
  static_cast<void>(co_await waiting->answered.async_wait(as_result));
  if (!waiting->answer) co_return fail(Errc::timeout, "the name servers did not answer in time");
  co_return std::move(*waiting->answer);
}

proxy::StatsSnapshot ProxyThreads::snapshot() const {
  proxy::StatsSnapshot out;
  for (const auto& loop : loops_)
    out += loop->server->snapshot();
  return out;
}

}  // namespace oceanid::process
