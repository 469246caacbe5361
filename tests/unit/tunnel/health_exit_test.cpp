#include "tunnel/core/health_board.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using enum HealthState;

class Exit : public ::testing::Test {
 protected:
  HealthState after(Duration time) {
    now_ += time;
    return exit_.update(evidence_, now_);
  }
  void prove() {
    evidence_.path = PathState::up;
    ASSERT_EQ(after(1s), up);
  }
  void fall_and_return() {
    evidence_.path = PathState::down;
    ASSERT_EQ(after(1s), down);
    evidence_.path = PathState::up;
    ASSERT_EQ(after(1s), hold);
  }

  ExitHealth exit_{10s};
  ExitEvidence evidence_;
  TimePoint now_{1h};
};

TEST_F(Exit, IsProvenByTheTunnelAlone) {
  EXPECT_EQ(after(0s), init);
  evidence_.path = PathState::up;
  EXPECT_EQ(after(1s), up);
  EXPECT_EQ(exit_.since(), now_);
}

TEST_F(Exit, WaitsForWhateverElseIsAsked) {
  evidence_.path = PathState::up;
  for (Verdict ExitEvidence::* probe :
       {&ExitEvidence::full_size, &ExitEvidence::canaries, &ExitEvidence::exit_address}) {
    evidence_.*probe = Verdict::pending;
    EXPECT_EQ(after(1s), init);
    evidence_.*probe = Verdict::good;
  }
  EXPECT_EQ(after(1s), up);
  evidence_.canaries = Verdict::pending;  // asked anew after a reload
  EXPECT_EQ(after(1s), up) << "what carries goes on";
}

TEST_F(Exit, FallsForTheDeepestReason) {
  prove();
  evidence_.canaries = Verdict::bad;
  EXPECT_EQ(after(1s), down);
  EXPECT_EQ(exit_.fall(), Fall::canaries);
  evidence_.exit_address = Verdict::bad;
  after(1s);
  EXPECT_EQ(exit_.fall(), Fall::exit_address);
  evidence_.path = PathState::down;
  after(1s);
  EXPECT_EQ(exit_.fall(), Fall::echo);
  evidence_.link = false;
  after(1s);
  EXPECT_EQ(exit_.fall(), Fall::link);
  EXPECT_NEAR(exit_.penalty(now_), 1000 * std::exp2(-3.0 / 60), 1) << "it fell once";
}

TEST_F(Exit, ComesBackThroughTheHold) {
  prove();
  fall_and_return();
  EXPECT_EQ(exit_.next_change(), now_ + 10s);
  EXPECT_TRUE(usable(exit_.state()));
  EXPECT_EQ(after(9999ms), hold);
  EXPECT_EQ(after(1ms), up);
  EXPECT_EQ(exit_.next_change(), std::nullopt);
}

TEST_F(Exit, ARelapseDuringTheHoldWaitsAgain) {
  prove();
  fall_and_return();
  after(9s);
  fall_and_return();
  EXPECT_EQ(after(9s), hold);
  EXPECT_EQ(after(1s), up);
}

TEST_F(Exit, ThreeFallsInAMinuteSuppressItForAWhile) {
  prove();
  for (int i = 0; i < 3; ++i)
    fall_and_return();
  const TimePoint fell = now_ - 1s;
  EXPECT_EQ(after(10s), hold) << "the hold is over, the damping is not";
  const auto due = exit_.next_change();
  ASSERT_TRUE(due);
  EXPECT_GT(*due - fell, 60s);
  EXPECT_LT(*due - fell, 4min);
  now_ = *due - 10ms;
  EXPECT_EQ(after(0s), hold);
  EXPECT_EQ(after(10ms), up);
}

TEST_F(Exit, WithoutDampingTheHoldIsAll) {
  exit_.set_hold(10s, false);
  prove();
  for (int i = 0; i < 5; ++i)
    fall_and_return();
  EXPECT_EQ(exit_.next_change(), now_ + 10s);
  EXPECT_EQ(after(10s), up);
}

TEST_F(Exit, SuppressionEndsFourMinutesAfterTheLastFall) {
  prove();
  for (int i = 0; i < 60; ++i)
    fall_and_return();
  const TimePoint fell = now_ - 1s;
  EXPECT_EQ(after(fell + 4min - 1ms - now_), hold);
  EXPECT_EQ(after(1ms), up);
}

TEST_F(Exit, ASuspicionIsNoFall) {
  prove();
  evidence_.path = PathState::suspect;
  EXPECT_EQ(after(1s), suspect);
  EXPECT_TRUE(usable(suspect));
  evidence_.path = PathState::up;
  EXPECT_EQ(after(1s), up);
  evidence_.path = PathState::init;
  EXPECT_EQ(after(1s), suspect) << "the probe begins anew";
  EXPECT_EQ(exit_.penalty(now_), 0);
}

TEST_F(Exit, IsDegradedByLossAndRecoversWhenItHasBeenCalm) {
  prove();
  evidence_.loss = 0.02;
  evidence_.lost = 1;
  EXPECT_EQ(after(1s), up) << "one lost packet is no trend";
  evidence_.lost = 2;
  evidence_.loss = 0.04;
  EXPECT_EQ(after(1s), degraded);
  evidence_.loss = 0.015;
  EXPECT_EQ(after(1min), degraded) << "less than it takes to enter, more than to leave";
  evidence_.loss = 0.005;
  EXPECT_EQ(after(1s), degraded);
  EXPECT_EQ(exit_.next_change(), now_ + 10s);
  EXPECT_EQ(after(10s), up);
}

TEST_F(Exit, IsDegradedByALongRoundTrip) {
  evidence_.baseline = 20ms;
  evidence_.rtt = 69ms;
  prove();
  evidence_.rtt = 71ms;
  EXPECT_EQ(after(1s), degraded);
  evidence_.rtt = 51ms;
  EXPECT_EQ(after(20s), degraded);
  evidence_.rtt = 49ms;
  after(1s);
  EXPECT_EQ(after(10s), up);
  evidence_.baseline = 200ms;
  evidence_.rtt = 390ms;
  EXPECT_EQ(after(1s), up) << "a long way is one that is twice as long as usual";
}

TEST_F(Exit, IsDegradedByWhatItDoesNotCarry) {
  prove();
  evidence_.full_size = Verdict::bad;
  EXPECT_EQ(after(1s), degraded);
  EXPECT_TRUE(exit_.impaired());
  evidence_.full_size = Verdict::good;
  after(1s);
  EXPECT_FALSE(exit_.impaired());
  EXPECT_EQ(after(10s), up);
  evidence_.canaries = Verdict::partial;
  EXPECT_EQ(after(1s), degraded);
  evidence_.canaries = Verdict::good;
  evidence_.stream_transport = true;
  EXPECT_EQ(after(1min), degraded);
  EXPECT_FALSE(exit_.impaired());
}

TEST_F(Exit, TheOperatorTakesItOutAndPutsItBack) {
  prove();
  evidence_.enabled = false;
  EXPECT_EQ(after(1s), admin_down);
  EXPECT_FALSE(usable(admin_down));
  evidence_.enabled = true;
  EXPECT_EQ(after(1s), up) << "that was no fall";
}

TEST_F(Exit, OneThatWasNeverUsedHasNothingToWaitFor) {
  evidence_.path = PathState::down;
  EXPECT_EQ(after(1s), down);
  evidence_.path = PathState::up;
  EXPECT_EQ(after(1s), up);
}

class Board : public ::testing::Test {
 protected:
  void after(Duration time, std::vector<PathState> paths) {
    now_ += time;
    std::vector<ExitEvidence> evidence(paths.size());
    for (std::size_t i = 0; i < paths.size(); ++i)
      evidence[i].path = paths[i];
    board_.update(evidence, underlay_, now_);
  }
  HealthState state(std::size_t i) const { return board_.exits()[i].state(); }

  static constexpr auto alive = PathState::up;
  static constexpr auto dead = PathState::down;
  HealthBoard board_{10s};
  bool underlay_ = true;
  TimePoint now_{1h};
};

TEST_F(Board, OneOfTwoIsThatExitsFault) {
  after(0s, {alive, alive});
  after(1s, {dead, alive});
  EXPECT_FALSE(board_.underlay_down());
  EXPECT_EQ(state(0), down);
  after(1s, {alive, alive});
  EXPECT_EQ(state(0), hold);
}

TEST_F(Board, BothWithinTwoSecondsIsTheLinesFault) {
  after(0s, {alive, alive});
  after(1s, {dead, alive});
  after(1500ms, {dead, dead});
  EXPECT_TRUE(board_.underlay_down());
  EXPECT_NEAR(board_.exits()[0].penalty(now_), 0, 20);
  after(1min, {dead, dead});
  EXPECT_TRUE(board_.underlay_down()) << "until somebody answers";
  after(1s, {dead, alive});
  EXPECT_FALSE(board_.underlay_down());
  EXPECT_EQ(state(1), up) << "no hold";
  after(1s, {alive, alive});
  EXPECT_EQ(state(0), up);
}

TEST_F(Board, OneAfterTheOtherAreTwoFaults) {
  after(0s, {alive, alive});
  after(1s, {dead, alive});
  after(2001ms, {dead, dead});
  EXPECT_FALSE(board_.underlay_down());
  after(1s, {alive, dead});
  EXPECT_EQ(state(0), hold);
}

TEST_F(Board, TwoOfThreeAreTwoThirds) {
  after(0s, {alive, alive, alive, alive});
  after(1s, {dead, dead, alive, alive});
  EXPECT_FALSE(board_.underlay_down());
  EXPECT_NEAR(board_.exits()[0].penalty(now_), 1000, 1) << "two of four are not";
  after(100ms, {dead, dead, dead, alive});
  EXPECT_EQ(state(3), up);
  EXPECT_FALSE(board_.underlay_down()) << "one is usable: whatever it is, the line is there";
  after(20s, {alive, alive, alive, alive});
  EXPECT_EQ(state(0), up) << "but the three are not blamed";
}

TEST_F(Board, ALineWithoutALinkIsSaidAtOnce) {
  after(0s, {alive});
  underlay_ = false;
  after(1s, {dead});
  EXPECT_TRUE(board_.underlay_down()) << "even with a single exit";
  underlay_ = true;
  after(1s, {alive});
  EXPECT_FALSE(board_.underlay_down());
  EXPECT_EQ(state(0), up);
}

TEST_F(Board, FollowsItsExitsWhenAReloadMovesThem) {
  after(0s, {alive, alive});
  after(1s, {dead, alive});
  board_.reorder({1, 0, std::nullopt});
  EXPECT_EQ(state(0), up);
  EXPECT_EQ(state(1), down);
  EXPECT_EQ(state(2), init);
}

}  // namespace
}  // namespace oceanid::tunnel
