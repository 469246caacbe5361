#include "gateway/base/runtime/asio.hpp"

namespace oceanid {

awaitable<error_code> sleep_for(std::chrono::nanoseconds duration) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(duration);
  auto [ec] = co_await timer.async_wait(as_result);
  co_return ec;
}

}  // namespace oceanid
