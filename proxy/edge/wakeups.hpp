#pragma once
// Sleepers that one event wakes all at once ("the exits have changed", "a tunnel has ended").
// A sleeper's timer is cancelled; the flag tells it that this was a wake-up and not the end of its
// task. One thread.

#include "proxy/edge/socket_linux.hpp"

#include <list>
#include <utility>

namespace oceanid::proxy {

class Wakeups {
  struct Entry {
    Timer* timer;
    bool woken = false;
  };

 public:
  Wakeups() = default;
  Wakeups(const Wakeups&) = delete;
  Wakeups& operator=(const Wakeups&) = delete;

  // Must not outlive the Wakeups, nor its timer.
  class Member {
   public:
    Member(Wakeups& wakeups, Timer& timer)
        : entries_(wakeups.entries_), place_(entries_.insert(entries_.end(), Entry{&timer})) {}
    ~Member() { entries_.erase(place_); }
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;
    bool take_woken() { return std::exchange(place_->woken, false); }

   private:
    std::list<Entry>& entries_;
    std::list<Entry>::iterator place_;
  };

  void wake_all() {
    for (Entry& entry : entries_) {
      entry.woken = true;
      entry.timer->cancel();
    }
  }

  // Sleeps until the event or the deadline, whichever comes first.
  static awaitable<void> sleep(asio::io_context& io, Wakeups& wakeups,
                               SteadyClock::time_point deadline) {
    Timer timer(io.get_executor());
    Member member(wakeups, timer);
    timer.expires_at(deadline);
    auto [ec] = co_await timer.async_wait(as_result);
    if (ec && !member.take_woken())
      throw boost::system::system_error(asio::error::operation_aborted);
  }

 private:
  std::list<Entry> entries_;
};

}  // namespace oceanid::proxy
