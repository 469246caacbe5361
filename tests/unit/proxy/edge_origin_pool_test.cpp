// What becomes of connections to origins while nobody uses them.
#include "edge_support.hpp"
#include "proxy/edge/origin_pool.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

class OriginPoolTest : public testing::Test {
 protected:
  // Takes one more connection into the pool; gives the origin's end of it.
  Peer add(std::optional<std::chrono::seconds> announced = {}) {
    Peer ours = Peer::connect(target_.port());
    UniqueFd copy(::dup(ours.fd()));
    pool_.put("role", origin_, {watch(io_, std::move(copy)), {}, {}}, announced);
    return target_.accept();
  }
  bool take(SteadyClock::duration longest = SteadyClock::duration::max()) {
    return pool_.take({}, "role", origin_, longest).has_value();
  }
  // Runs the loop until the pool has that size; false after 10 s.
  bool shrinks_to(std::size_t size) {
    const auto deadline = SteadyClock::now() + 10s;
    while (pool_.size() != size && SteadyClock::now() < deadline)
      io_.run_one_until(deadline);
    return pool_.size() == size;
  }

  asio::io_context io_;
  Target target_;
  HostPort origin_{"origin.test", 80};
  OriginPool pool_{io_, {.longest_idle = 60'000ms, .between_looks = 20ms}};
};

TEST_F(OriginPoolTest, WhatTheOriginEndsIsClosedWithoutBeingAskedFor) {
  Peer stays = add();
  Peer ends = add();
  Peer breaks = add();
  Peer talks = add();
  ends.finish_sending();
  breaks.reset();
  ASSERT_TRUE(talks.send_all("HTTP/1.1 408 Request Timeout\r\n\r\n"));
  EXPECT_TRUE(shrinks_to(1));
  EXPECT_EQ(ends.recv_some(), "");  // our FIN: no CLOSE-WAIT is left
  EXPECT_EQ(ends.last_error(), 0);
  EXPECT_TRUE(take());
}

TEST_F(OriginPoolTest, NoneIsKeptLongerThanItsTime) {
  OriginPool pool(io_, {.longest_idle = 50ms, .between_looks = 20ms});
  UniqueFd copy(::dup(Peer::connect(target_.port()).fd()));
  pool.put("role", origin_, {watch(io_, std::move(copy)), {}, {}});
  Peer origin = target_.accept();
  std::thread loop([&] { io_.run(); });  // ends: an empty pool has no timer
  EXPECT_EQ(origin.recv_some(), "");
  EXPECT_EQ(origin.last_error(), 0);
  loop.join();
  EXPECT_EQ(pool.size(), 0U);
}

TEST_F(OriginPoolTest, AnOriginThatAnnouncesItsPatienceIsBelieved) {
  Peer impatient = add(0s);
  EXPECT_FALSE(take());
  Peer patient = add(3600s);
  EXPECT_TRUE(take());
}

TEST_F(OriginPoolTest, WhoMustNotMeetAnEndTakesAYoungOne) {
  Peer origin = add();
  EXPECT_FALSE(take(0s));
  EXPECT_TRUE(take(60s));
}

TEST_F(OriginPoolTest, TheLimitHolds) {
  pool_.set_limit(2);
  Peer first = add();
  Peer second = add();
  Peer third = add();
  EXPECT_EQ(pool_.size(), 2U);
  EXPECT_EQ(first.recv_some(), "");
  pool_.set_limit(0);
  EXPECT_EQ(pool_.size(), 0U);
}

TEST_F(OriginPoolTest, ItMayEndBeforeItsLoop) {
  {
    OriginPool pool(io_, {.longest_idle = 60'000ms, .between_looks = 1ms});
    UniqueFd copy(::dup(Peer::connect(target_.port()).fd()));
    pool.put("role", origin_, {watch(io_, std::move(copy)), {}, {}});
  }
  io_.run();
  EXPECT_EQ(pool_.size(), 0U);
}

}  // namespace
}  // namespace oceanid::proxy::test
