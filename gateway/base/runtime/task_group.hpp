#pragma once
// Structured lifetime for coroutines. Problem: a detached coroutine outlives the objects it refers
// to. Every owner that starts coroutines has one TaskGroup; `stop()` refuses new tasks, cancels
// those that run and returns when the last has ended. The destructor asserts that none is left.
// Belongs to one thread (its executor's). After Seastar's gate and abort_source.

#include "gateway/base/runtime/asio.hpp"

#include <cstddef>
#include <list>

#include <boost/asio/cancellation_signal.hpp>

namespace oceanid {

class TaskGroup {
 public:
  explicit TaskGroup(asio::any_io_executor executor);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts the task; drops it unstarted when the group is stopping. An exception other than
  // cancellation is logged with `name` and ends only that task.
  void spawn(const char* name, awaitable<void> task);
  void cancel();           // asks every running task to end
  awaitable<void> stop();  // refuse, cancel, join
  awaitable<void> join();  // refuse and wait, without cancelling
  std::size_t size() const { return running_.size(); }

 private:
  struct Running {
    asio::cancellation_signal signal;
  };
  asio::any_io_executor executor_;
  std::list<Running> running_;
  bool refusing_ = false;
  asio::steady_timer empty_;  // never expires; cancelled when the last task ends
};

}  // namespace oceanid
