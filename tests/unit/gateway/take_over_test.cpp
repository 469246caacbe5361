#include "gateway/process/take_over.hpp"

#include <gtest/gtest.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
const tunnel::TimePoint start{1000s};

TEST(TakeOver, NothingIsTakenOverUntilItBegins) {
  TakeOver one;
  EXPECT_FALSE(one.from_found());
  EXPECT_FALSE(one.lasts(start));
  EXPECT_FALSE(one.in_hand(start));
  EXPECT_FALSE(one.end(start));
}

TEST(TakeOver, TheTimeToAnswerBeginsWithTheTunnels) {
  TakeOver one;
  one.begin();
  EXPECT_TRUE(one.from_found());
  EXPECT_TRUE(one.lasts(start + 60s)) << "large sets take their time";
  EXPECT_FALSE(one.end(start));
  EXPECT_TRUE(one.in_hand(start + 60s));
  EXPECT_FALSE(one.from_found());
  EXPECT_FALSE(one.in_hand(start + 61s)) << "once";
  const auto end = start + 60s + tunnel::ExitSelector::grace;
  EXPECT_EQ(one.end(start + 60s), end);
  EXPECT_TRUE(one.lasts(end - 1ns));
  EXPECT_FALSE(one.lasts(end));
  EXPECT_FALSE(one.end(end));
}

}  // namespace
}  // namespace oceanid::process
