#include "gateway/base/runtime/task_group.hpp"

#include "gateway/base/runtime/log.hpp"

#include <cstdlib>
#include <exception>
#include <iterator>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>

namespace oceanid {

TaskGroup::TaskGroup(asio::any_io_executor executor)
    : executor_(std::move(executor)), empty_(executor_) {
  empty_.expires_at(asio::steady_timer::time_point::max());
}

TaskGroup::~TaskGroup() {
  if (running_.empty()) return;
  log::error("base", "a task group was destroyed with running tasks",
             {{"tasks", std::to_string(running_.size())}});
  std::abort();  // our bug: those tasks refer to objects that are going away
}

void TaskGroup::spawn(const char* name, awaitable<void> task) {
  if (refusing_) return;
  const auto entry = running_.emplace(running_.end());
  auto done = [this, entry, name](const std::exception_ptr& failure) {
    if (failure) {
      try {
        std::rethrow_exception(failure);
      } catch (const boost::system::system_error& e) {
        if (e.code() != asio::error::operation_aborted)
          log::error("base", "a task ended with an error", {{"task", name}, {"error", e.what()}});
      } catch (const std::exception& e) {
        log::error("base", "a task ended with an exception", {{"task", name}, {"error", e.what()}});
      }
    }
    running_.erase(entry);
    if (running_.empty()) empty_.cancel();
  };
  asio::co_spawn(executor_, std::move(task),
                 asio::bind_cancellation_slot(entry->signal.slot(), std::move(done)));
}

void TaskGroup::cancel() {
  for (auto next = running_.begin(); next != running_.end();) {
    auto current = next++;  // the task may end, and its entry vanish, inside emit()
    current->signal.emit(asio::cancellation_type::terminal);
  }
}

awaitable<void> TaskGroup::stop() {
  refusing_ = true;
  cancel();
  co_await join();
}

awaitable<void> TaskGroup::join() {
  refusing_ = true;
  while (!running_.empty()) {
    auto [ec] = co_await empty_.async_wait(as_result);
    static_cast<void>(ec);  // cancelled is the expected way to wake up
  }
}

}  // namespace oceanid
