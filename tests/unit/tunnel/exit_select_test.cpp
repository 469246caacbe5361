#include "tunnel/core/exit_select.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
const TimePoint start{1h};

// One whose start is over: nothing was usable then.
ExitSelector settled() {
  ExitSelector selector(10s);
  selector.select({}, {}, start - 1min);
  return selector;
}

TEST(ExitSelect, TakesTheFirstUsableInOrder) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select({false, true, true}, {}, start), 1U);
}

TEST(ExitSelect, HasNoneWhenNoneIsProven) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select({false, false}, {}, start), std::nullopt);
  EXPECT_EQ(selector.select({}, {}, start), std::nullopt);
}

TEST(ExitSelect, LeavesAFailedExitAtOnce) {
  ExitSelector selector = settled();
  selector.select({true, true}, {}, start);
  EXPECT_EQ(selector.select({false, true}, {}, start + 1ms), 1U);
}

TEST(ExitSelect, ReturnsToAPreferredExitOnlyAfterTheHold) {
  ExitSelector selector = settled();
  selector.select({false, true}, {}, start);
  EXPECT_EQ(selector.select({true, true}, {}, start + 1s), 1U);
  EXPECT_EQ(selector.next_decision(), start + 11s);
  EXPECT_EQ(selector.select({true, true}, {}, start + 10s + 999ms), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 11s), 0U);
  EXPECT_EQ(selector.next_decision(), std::nullopt);
}

TEST(ExitSelect, AFlapRestartsTheHold) {
  ExitSelector selector = settled();
  selector.select({false, true}, {}, start);
  selector.select({true, true}, {}, start + 1s);
  selector.select({false, true}, {}, start + 9s);
  selector.select({true, true}, {}, start + 10s);
  EXPECT_EQ(selector.select({true, true}, {}, start + 19s), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 20s), 0U);
}

TEST(ExitSelect, APinExcludesTheOthers) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select({true, true}, 1, start), 1U);
  EXPECT_EQ(selector.select({true, false}, 1, start), std::nullopt);
}

TEST(ExitSelect, SurvivesAShorterListAfterAReload) {
  ExitSelector selector = settled();
  selector.select({false, false, true}, {}, start);
  EXPECT_EQ(selector.select({true}, {}, start + 1s), 0U);
}

TEST(ExitSelect, GivesThePreferredExitAMomentAtTheStart) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select({false, true}, {}, start), std::nullopt);
  EXPECT_EQ(selector.next_decision(), start + ExitSelector::grace);
  EXPECT_EQ(selector.select({true, true}, {}, start + 300ms), 0U);
}

TEST(ExitSelect, TakesAnotherWhenThePreferredDoesNotComeInTime) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select({false, true}, {}, start), std::nullopt);
  EXPECT_EQ(selector.select({false, true}, {}, start + ExitSelector::grace), 1U);
}

TEST(ExitSelect, KeepsAFormerLifesChoiceUntilItIsProvenOrTheGraceIsOver) {
  ExitSelector proven(10s);
  proven.resume(1, start);
  EXPECT_EQ(proven.select({false, false}, {}, start), 1U);
  EXPECT_EQ(proven.next_decision(), start + ExitSelector::grace);
  EXPECT_EQ(proven.select({false, true}, {}, start + 200ms), 1U);
  EXPECT_EQ(proven.select({false, true}, {}, start + 1min), 1U);
  ExitSelector lost(10s);
  lost.resume(1, start);
  EXPECT_EQ(lost.select({true, false}, {}, start + 200ms), 1U);
  EXPECT_EQ(lost.select({true, false}, {}, start + ExitSelector::grace), 0U);
}

TEST(ExitSelect, AFormerChoiceThatWasLeftNeedsProofLikeAnyOther) {
  ExitSelector selector(100ms);
  selector.resume(0, start);
  EXPECT_EQ(selector.select({true, true}, {}, start), 0U);
  EXPECT_EQ(selector.select({false, true}, 1, start + 100ms), 1U);
  EXPECT_EQ(selector.select({false, true}, {}, start + 200ms), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 300ms), 1U);
  EXPECT_EQ(selector.select({true, true}, {}, start + 400ms), 0U);
}

TEST(ExitSelect, FollowsItsExitWhenAReloadMovesIt) {
  ExitSelector selector = settled();
  selector.select({false, true, true}, {}, start);
  selector.reorder({1, 2});  // the first one is gone
  EXPECT_EQ(selector.select({true, true}, {}, start + 1ms), 0U);
  selector.reorder({std::nullopt, 0});  // a new one before it, one after it gone
  EXPECT_EQ(selector.select({true, true}, {}, start + 2ms), 1U);
  // The newcomer is preferred, once it has held as long as any other.
  EXPECT_EQ(selector.select({true, true}, {}, start + 2ms + 10s), 0U);
  selector.reorder({1});
  EXPECT_EQ(selector.select({false}, {}, start + 11s), std::nullopt);
}

}  // namespace
}  // namespace oceanid::tunnel
