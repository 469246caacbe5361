#include "tunnel/core/exit_select.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
const TimePoint start{1h};

TEST(ExitSelect, TakesTheFirstUsableInOrder) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select({false, true, true}, {}, start), 1U);
}

TEST(ExitSelect, HasNoneWhenNoneIsProven) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select({false, false}, {}, start), std::nullopt);
  EXPECT_EQ(selector.select({}, {}, start), std::nullopt);
}

TEST(ExitSelect, LeavesAFailedExitAtOnce) {
  ExitSelector selector(10s);
  selector.select({true, true}, {}, start);
  EXPECT_EQ(selector.select({false, true}, {}, start + 1ms), 1U);
}

TEST(ExitSelect, ReturnsToAPreferredExitOnlyAfterTheHold) {
  ExitSelector selector(10s);
  selector.select({false, true}, {}, start);
  EXPECT_EQ(selector.select({true, true}, {}, start + 1s), 1U);
  EXPECT_EQ(selector.next_decision(), start + 11s);
  EXPECT_EQ(selector.select({true, true}, {}, start + 10s + 999ms), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 11s), 0U);
  EXPECT_EQ(selector.next_decision(), std::nullopt);
}

TEST(ExitSelect, AFlapRestartsTheHold) {
  ExitSelector selector(10s);
  selector.select({false, true}, {}, start);
  selector.select({true, true}, {}, start + 1s);
  selector.select({false, true}, {}, start + 9s);
  selector.select({true, true}, {}, start + 10s);
  EXPECT_EQ(selector.select({true, true}, {}, start + 19s), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 20s), 0U);
}

TEST(ExitSelect, APinExcludesTheOthers) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select({true, true}, 1, start), 1U);
  EXPECT_EQ(selector.select({true, false}, 1, start), std::nullopt);
}

TEST(ExitSelect, SurvivesAShorterListAfterAReload) {
  ExitSelector selector(10s);
  selector.select({false, false, true}, {}, start);
  EXPECT_EQ(selector.select({true}, {}, start + 1s), 0U);
}

}  // namespace
}  // namespace oceanid::tunnel
