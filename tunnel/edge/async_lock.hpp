#pragma once
// Mutual exclusion between coroutines of one thread: whoever changes devices holds it across its
// waits. Cancelling a waiter is safe: it holds nothing, and one that was just let in releases on
// unwinding.

#include "gateway/base/runtime/asio.hpp"

#include <utility>

namespace oceanid::tunnel {

class AsyncLock {
 public:
  class Guard {
   public:
    explicit Guard(AsyncLock* lock) : lock_(lock) {}
    Guard(Guard&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)) {}
    Guard& operator=(Guard&&) = delete;
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() {
      if (lock_) lock_->release();
    }

   private:
    AsyncLock* lock_;
  };

  explicit AsyncLock(const asio::any_io_executor& executor) : waiters_(executor) {
    waiters_.expires_at(asio::steady_timer::time_point::max());
  }

  // The lock must outlive the guard.
  awaitable<Guard> acquire() {
    while (held_) {
      auto [ec] = co_await waiters_.async_wait(as_result);
      static_cast<void>(ec);  // cancelled is how a waiter is woken
    }
    held_ = true;
    co_return Guard(this);
  }

 private:
  void release() {
    held_ = false;
    waiters_.cancel_one();
  }

  bool held_ = false;
  asio::steady_timer waiters_;
};

}  // namespace oceanid::tunnel
