#include "tunnel/core/exit_select.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
const TimePoint start{1h};

constexpr auto up = HealthState::up;
constexpr auto down = HealthState::down;
constexpr auto degraded = HealthState::degraded;
constexpr auto hold = HealthState::hold;
constexpr auto suspect = HealthState::suspect;

// In order of preference.
std::vector<ExitCandidate> exits(std::initializer_list<HealthState> states) {
  std::vector<ExitCandidate> out;
  for (const HealthState state : states)
    out.push_back({.state = state, .priority = static_cast<std::uint32_t>(out.size()), .rtt = {}});
  return out;
}

// Of one priority, with these round trips in milliseconds.
std::vector<ExitCandidate> equals(std::initializer_list<std::pair<HealthState, int>> list) {
  std::vector<ExitCandidate> out;
  for (const auto& [state, rtt] : list)
    out.push_back({.state = state, .priority = 1, .rtt = std::chrono::milliseconds(rtt)});
  return out;
}

// One whose start is over: nothing was usable then.
ExitSelector settled() {
  ExitSelector selector(10s);
  selector.select({}, {}, start - 1min);
  return selector;
}

TEST(ExitSelect, TakesTheFirstUsableInOrder) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(exits({down, up, up}), {}, start), 1U);
}

TEST(ExitSelect, HasNoneWhenNoneIsProven) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(exits({down, HealthState::init, HealthState::admin_down}), {}, start),
            std::nullopt);
  EXPECT_EQ(selector.select({}, {}, start), std::nullopt);
}

TEST(ExitSelect, LeavesAFailedExitAtOnce) {
  ExitSelector selector = settled();
  selector.select(exits({up, up}), {}, start);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start + 1ms), 1U);
}

TEST(ExitSelect, ASuspicionMovesNothing) {
  ExitSelector selector = settled();
  selector.select(exits({up, up}), {}, start);
  EXPECT_EQ(selector.select(exits({suspect, up}), {}, start + 1ms), 0U);
  EXPECT_EQ(selector.select(exits({down, suspect, up}), {}, start + 2ms), 2U)
      << "but nobody goes to a suspect when there is another";
}

// The line below both is cut: their echoes end within one interval of each other.
TEST(ExitSelect, FromASilentExitToASuspectOnlyWhenItAnswers) {
  ExitSelector selector = settled();
  selector.select(exits({up, up}), {}, start);
  auto cut = exits({down, suspect});
  cut[0].silent = true;
  EXPECT_EQ(selector.select(cut, {}, start + 1ms), 0U);
  EXPECT_EQ(selector.next_decision(), start + 1ms + ExitSelector::look);
  ExitSelector both = selector;
  EXPECT_EQ(both.select(exits({down, down}), {}, start + 100ms, true), std::nullopt);
  ExitSelector back = selector;
  EXPECT_EQ(back.select(exits({hold, suspect}), {}, start + 100ms), 0U);
  ExitSelector never = selector;
  EXPECT_EQ(never.select(cut, {}, start + ExitSelector::doubt), 0U);
  EXPECT_EQ(never.next_decision(), start + 1ms + ExitSelector::doubt);
  EXPECT_EQ(never.select(cut, {}, start + 1ms + ExitSelector::doubt), 1U) << "never none";
  EXPECT_EQ(selector.select(exits({down, up}), {}, start + 60ms), 1U);
  EXPECT_EQ(selector.next_decision(), std::nullopt);
  cut[1].state = down;
  cut[0].state = suspect;
  std::swap(cut[0].silent, cut[1].silent);
  EXPECT_EQ(selector.select(cut, {}, start + 5s), 1U) << "a doubt of its own, of the same length";
  EXPECT_EQ(selector.select(cut, {}, start + 5s + ExitSelector::doubt - 1ms), 1U);
  EXPECT_EQ(selector.select(cut, {}, start + 5s + ExitSelector::doubt), 0U);
}

TEST(ExitSelect, AnExitThatLeadsNowhereOrWhereItMustNotIsLeftForASuspect) {
  ExitSelector selector = settled();
  selector.select(exits({up, up}), {}, start);
  EXPECT_EQ(selector.select(exits({down, suspect}), {}, start + 1ms), 1U);
}

TEST(ExitSelect, ReturnsToAPreferredExitOnlyAfterTheHold) {
  ExitSelector selector = settled();
  selector.select(exits({down, up}), {}, start);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 1s), 1U);
  EXPECT_EQ(selector.next_decision(), start + 11s);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 10s + 999ms), 1U);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 11s), 0U);
  EXPECT_EQ(selector.next_decision(), std::nullopt);
}

TEST(ExitSelect, AFlapRestartsTheHold) {
  ExitSelector selector = settled();
  selector.select(exits({down, up}), {}, start);
  selector.select(exits({up, up}), {}, start + 1s);
  selector.select(exits({down, up}), {}, start + 9s);
  selector.select(exits({up, up}), {}, start + 10s);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 19s), 1U);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 20s), 0U);
}

TEST(ExitSelect, WhatIsHeldIsTheLastResort) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(exits({hold, up}), {}, start), 1U);
  EXPECT_EQ(selector.select(exits({hold, up}), {}, start + 1min), 1U)
      << "its state machine decides how long";
  EXPECT_EQ(selector.select(exits({hold, down}), {}, start + 2min), 0U)
      << "but it is used when nothing else is there";
  EXPECT_EQ(selector.select(exits({hold, up}), {}, start + 2min + 1s), 0U);
  EXPECT_EQ(selector.select(exits({hold, up}), {}, start + 2min + 11s), 1U);
}

TEST(ExitSelect, WhatPassesSmallPacketsOnlyIsLeftAtOnceForWhatPassesAll) {
  ExitSelector selector = settled();
  auto list = exits({up, up});
  selector.select(list, {}, start);
  list[0].state = degraded;
  EXPECT_EQ(selector.select(list, {}, start + 1s), 0U) << "a loss of rank is no reason by itself";
  list[0].impaired = true;
  EXPECT_EQ(selector.select(list, {}, start + 2s), 1U);
  list[1].state = down;
  EXPECT_EQ(selector.select(list, {}, start + 3s), 0U) << "better than nothing";
}

TEST(ExitSelect, AmongEqualsStateThenRoundTripDecide) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(equals({{degraded, 5}, {up, 40}, {up, 20}}), {}, start), 2U);
}

TEST(ExitSelect, AmongEqualsOnlyALastingAdvantageMovesTheTraffic) {
  ExitSelector selector = settled();
  selector.select(equals({{up, 20}, {up, 40}}), {}, start);
  EXPECT_EQ(selector.select(equals({{up, 20}, {up, 17}}), {}, start + 1min), 0U);
  EXPECT_EQ(selector.next_decision(), std::nullopt) << "less than a fifth is no advantage";
  EXPECT_EQ(selector.select(equals({{up, 20}, {up, 16}}), {}, start + 2min), 0U);
  EXPECT_EQ(selector.next_decision(), start + 2min + ExitSelector::settle);
  selector.select(equals({{up, 20}, {up, 17}}), {}, start + 2min + 20s);
  selector.select(equals({{up, 20}, {up, 16}}), {}, start + 2min + 21s);
  EXPECT_EQ(selector.select(equals({{up, 20}, {up, 16}}), {}, start + 2min + 50s), 0U);
  EXPECT_EQ(selector.select(equals({{up, 20}, {up, 16}}), {}, start + 2min + 51s), 1U);
  EXPECT_EQ(selector.select(equals({{up, 20}, {degraded, 16}}), {}, start + 3min), 1U);
  EXPECT_EQ(selector.select(equals({{up, 20}, {degraded, 16}}), {}, start + 3min + 30s), 0U);
}

TEST(ExitSelect, APinExcludesTheOthers) {
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(exits({up, up}), 1, start), 1U);
  EXPECT_EQ(selector.select(exits({up, down}), 1, start), std::nullopt);
  EXPECT_EQ(selector.select(exits({up, hold}), 1, start), 1U);
}

TEST(ExitSelect, SurvivesAShorterListAfterAReload) {
  ExitSelector selector = settled();
  selector.select(exits({down, down, up}), {}, start);
  EXPECT_EQ(selector.select(exits({up}), {}, start + 1s), 0U);
}

TEST(ExitSelect, GivesThePreferredExitAMomentAtTheStart) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start), std::nullopt);
  EXPECT_EQ(selector.next_decision(), start + ExitSelector::grace);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 300ms), 0U);
  ExitSelector without(10s);
  EXPECT_EQ(without.select(exits({HealthState::admin_down, up}), {}, start), 1U)
      << "but not to one that the operator took out";
}

TEST(ExitSelect, TakesAnotherWhenThePreferredDoesNotComeInTime) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start), std::nullopt);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start + ExitSelector::grace), 1U);
}

TEST(ExitSelect, WhenTheLineComesBackThePreferredExitIsGivenAMoment) {
  ExitSelector selector = settled();
  selector.select(exits({up, up}), {}, start);
  EXPECT_EQ(selector.select(exits({down, down}), {}, start + 1s, true), std::nullopt);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start + 9s), std::nullopt);
  EXPECT_EQ(selector.next_decision(), start + 9s + ExitSelector::return_grace);
  ExitSelector late = selector;
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 9s + 100ms), 0U);
  EXPECT_EQ(late.select(exits({down, up}), {}, start + 10s), 1U) << "a moment, not more";
}

TEST(ExitSelect, KeepsAFormerLifesChoiceUntilItIsProvenOrTheGraceIsOver) {
  ExitSelector proven(10s);
  proven.resume(1, start);
  EXPECT_EQ(proven.select(exits({down, down}), {}, start), 1U);
  EXPECT_EQ(proven.next_decision(), start + ExitSelector::grace);
  EXPECT_EQ(proven.select(exits({down, up}), {}, start + 200ms), 1U);
  EXPECT_EQ(proven.select(exits({down, up}), {}, start + 1min), 1U);
  ExitSelector lost(10s);
  lost.resume(1, start);
  EXPECT_EQ(lost.select(exits({up, down}), {}, start + 200ms), 1U);
  EXPECT_EQ(lost.select(exits({up, down}), {}, start + ExitSelector::grace), 0U);
}

TEST(ExitSelect, AFormerChoiceThatWasLeftNeedsProofLikeAnyOther) {
  ExitSelector selector(100ms);
  selector.resume(0, start);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start), 0U);
  EXPECT_EQ(selector.select(exits({down, up}), 1, start + 100ms), 1U);
  EXPECT_EQ(selector.select(exits({down, up}), {}, start + 200ms), 1U);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 300ms), 1U);
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 400ms), 0U);
}

TEST(ExitSelect, FollowsItsExitWhenAReloadMovesIt) {
  ExitSelector selector = settled();
  selector.select(exits({down, up, up}), {}, start);
  selector.reorder({1, 2});  // the first one is gone
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 1ms), 0U);
  selector.reorder({std::nullopt, 0});  // a new one before it, one after it gone
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 2ms), 1U);
  // The newcomer is preferred, once it has held as long as any other.
  EXPECT_EQ(selector.select(exits({up, up}), {}, start + 2ms + 10s), 0U);
  selector.reorder({1});
  EXPECT_EQ(selector.select(exits({down}), {}, start + 11s), std::nullopt);
}

TEST(ExitSelect, DoesNotWaitAtTheStartWhereAnEqualOneIsThere) {
  ExitSelector selector(10s);
  EXPECT_EQ(selector.select(equals({{HealthState::init, 0}, {up, 20}}), {}, start), 1U);
}

TEST(ExitSelect, LeavesMicrosecondsBetweenEqualOnesAlone) {
  const std::vector<ExitCandidate> near{{.state = up, .priority = 1, .rtt = 900us},
                                        {.state = up, .priority = 1, .rtt = 200us}};
  ExitSelector selector = settled();
  selector.resume(0, start - 10s);
  EXPECT_EQ(selector.select(near, {}, start), 0U);
  EXPECT_EQ(selector.select(near, {}, start + 10min), 0U);
}

TEST(ExitSelect, IsToBeAskedWhenAnEqualOneBecomesFaster) {
  const auto level = equals({{up, 50}, {up, 45}});
  const auto faster = equals({{up, 50}, {up, 30}});
  ExitSelector selector = settled();
  EXPECT_EQ(selector.select(equals({{up, 50}, {down, 0}}), {}, start), 0U);
  EXPECT_FALSE(selector.matters(level, level));
  EXPECT_TRUE(selector.matters(level, faster));
  EXPECT_TRUE(selector.matters(faster, level));
  // The order decides between others.
  EXPECT_FALSE(selector.matters(exits({up, up}), exits({up, suspect})));
  EXPECT_TRUE(selector.matters(exits({up, up}), exits({up, degraded})));
  EXPECT_TRUE(selector.matters(exits({up}), exits({up, up})));
}

TEST(ExitPriorities, ComeOneBehindTheOther) {
  const auto of = [](std::initializer_list<std::optional<std::uint32_t>> given) {
    std::vector<ExitSettings> list;
    for (const auto& priority : given)
      list.emplace_back().priority = priority;
    return priorities_of(list);
  };
  using Numbers = std::vector<std::uint32_t>;
  EXPECT_EQ(of({}), Numbers());
  EXPECT_EQ(of({std::nullopt, std::nullopt, std::nullopt}), (Numbers{1, 2, 3}));
  EXPECT_EQ(of({1, 1, std::nullopt}), (Numbers{1, 1, 2}));
  EXPECT_EQ(of({std::nullopt, 1, 7, std::nullopt}), (Numbers{1, 1, 7, 8}));
  EXPECT_EQ(of({5, 3}), (Numbers{5, 3}));
}

}  // namespace
}  // namespace oceanid::tunnel
