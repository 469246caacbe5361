#include "gateway/base/runtime/task_group.hpp"

#include <gtest/gtest.h>

namespace oceanid {
namespace {

using namespace std::chrono_literals;

awaitable<void> forever(int& ended) {
  struct Mark {
    int& count;
    ~Mark() { ++count; }
  } const mark{ended};
  co_await sleep_for(24h);
}

awaitable<void> stop_group(TaskGroup& group, bool& stopped) {
  co_await group.stop();
  stopped = true;
}

TEST(TaskGroup, StopCancelsAndWaitsForEveryTask) {
  asio::io_context io(1);
  TaskGroup owner(io.get_executor());
  TaskGroup group(io.get_executor());
  int ended = 0;
  bool stopped = false;
  group.spawn("one", forever(ended));
  group.spawn("two", forever(ended));
  owner.spawn("stop", stop_group(group, stopped));
  io.run();
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(stopped);
  EXPECT_EQ(group.size(), 0U);
}

TEST(TaskGroup, RefusesNewTasksOnceStopped) {
  asio::io_context io(1);
  TaskGroup owner(io.get_executor());
  TaskGroup group(io.get_executor());
  bool stopped = false;
  owner.spawn("stop", stop_group(group, stopped));
  io.run();
  int ended = 0;
  group.spawn("late", forever(ended));
  EXPECT_EQ(group.size(), 0U);
}

awaitable<void> throws_at_once() {
  throw std::runtime_error("broken");
  co_return;
}

TEST(TaskGroup, AnExceptionEndsOnlyItsOwnTask) {
  asio::io_context io(1);
  TaskGroup owner(io.get_executor());
  TaskGroup group(io.get_executor());
  int ended = 0;
  bool stopped = false;
  group.spawn("bad", throws_at_once());
  group.spawn("good", forever(ended));
  io.poll();
  EXPECT_EQ(group.size(), 1U);
  owner.spawn("stop", stop_group(group, stopped));
  io.run();
  EXPECT_EQ(ended, 1);
}

using TaskGroupDeathTest = testing::Test;
TEST(TaskGroupDeathTest, DestroyingItWithRunningTasksIsOurBugAndFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        asio::io_context io(1);
        int ended = 0;
        TaskGroup group(io.get_executor());
        group.spawn("left", forever(ended));
        io.poll();
      },
      "running tasks");
}

}  // namespace
}  // namespace oceanid
