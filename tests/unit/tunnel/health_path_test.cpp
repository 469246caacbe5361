#include "tunnel/core/health_path.hpp"

#include "health_sim.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::SimulatedTunnel;

class Path : public ::testing::Test {
 protected:
  std::uint64_t ask() {
    path_.on_sent(++nonce_, now_);
    return nonce_;
  }
  // Asks whenever it is due, each answered 10 ms later, until that state or for that long.
  void answer_until(PathState wanted, Duration most = 10s) {
    const TimePoint end = now_ + most;
    while (path_.state() != wanted && now_ < end) {
      now_ = std::max(now_, path_.next_request(now_));
      path_.check(now_);
      const auto nonce = ask();
      now_ += 10ms;
      path_.on_reply(nonce, now_);
    }
    ASSERT_EQ(path_.state(), wanted);
  }
  // Asks whenever it is due, and hears nothing.
  void silence(Duration time) {
    const TimePoint end = now_ + time;
    for (;;) {
      TimePoint next = path_.next_request(now_);
      if (const auto check = path_.next_check()) next = std::min(next, *check);
      if (next > end) break;
      now_ = std::max(now_, next);
      path_.check(now_);
      if (path_.next_request(now_) <= now_) ask();
    }
    now_ = end;
    path_.check(now_);
  }

  PathHealth path_{200ms, 3};
  TimePoint now_{1h};
  std::uint64_t nonce_ = 0;
};

TEST_F(Path, IsUpAfterFiveAnswersInARowWithinAQuarterOfASecond) {
  const TimePoint begin = now_;
  EXPECT_EQ(path_.next_request(now_), now_) << "the first question at once";
  answer_until(PathState::up);
  EXPECT_EQ(nonce_, 5U);
  EXPECT_LE(now_ - begin, 250ms) << "each question follows the answer of the one before";
  EXPECT_EQ(path_.rtt(), Duration(10ms));
}

TEST_F(Path, ALostOneBeginsTheRowAgain) {
  for (int i = 0; i < 4; ++i)
    path_.on_reply(ask(), now_);
  ask();
  now_ += 1200ms;
  path_.check(now_);
  for (int i = 0; i < 4; ++i)
    path_.on_reply(ask(), now_);
  EXPECT_EQ(path_.state(), PathState::init);
  path_.on_reply(ask(), now_);
  EXPECT_EQ(path_.state(), PathState::up);
}

TEST_F(Path, TheFirstMissBringsThreeExtraEchoes) {
  answer_until(PathState::up);
  const TimePoint last = *path_.last_reply();
  const auto before = nonce_;
  silence(299ms - (now_ - last));
  EXPECT_EQ(path_.state(), PathState::up);
  silence(1ms);
  EXPECT_EQ(path_.state(), PathState::suspect);
  silence(99ms);
  EXPECT_EQ(nonce_ - before, 1U + 3U) << "one regular echo and three extra ones, 50 ms apart";
  path_.on_reply(nonce_, now_);
  EXPECT_EQ(path_.state(), PathState::up) << "any answer clears the suspicion";
}

TEST_F(Path, IsDownThreeIntervalsAfterTheLastAnswer) {
  answer_until(PathState::up);
  const TimePoint last = *path_.last_reply();
  silence(last + 599ms - now_);
  EXPECT_EQ(path_.state(), PathState::suspect);
  silence(1ms);
  EXPECT_EQ(path_.state(), PathState::down);
  EXPECT_EQ(path_.since(), last + 600ms);
  EXPECT_EQ(path_.answered_in_row(), 0U);
}

TEST_F(Path, ComesBackWithTenAnswersInARow) {
  answer_until(PathState::up);
  silence(2s);
  ASSERT_EQ(path_.state(), PathState::down);
  const auto before = nonce_;
  const TimePoint begin = now_;
  answer_until(PathState::up);
  EXPECT_EQ(nonce_ - before, 10U);
  EXPECT_LE(now_ - begin, 800ms);
  EXPECT_EQ(path_.losses().count(), 0U)
      << "the losses of the fall are no reason against what is back";
}

TEST_F(Path, NeverAnsweredIsDownAfterThreeIntervals) {
  silence(599ms);
  EXPECT_EQ(path_.state(), PathState::init);
  silence(1ms);
  EXPECT_EQ(path_.state(), PathState::down);
}

TEST_F(Path, OurOwnPauseIsNoProofAgainstTheTunnel) {
  answer_until(PathState::up);
  ask();
  now_ += 1h;  // the process was stopped, with a question under way
  path_.check(now_);
  EXPECT_EQ(path_.state(), PathState::up);
  silence(590ms);
  EXPECT_NE(path_.state(), PathState::down) << "what was asked before the pause does not count";
  silence(300ms);
  EXPECT_EQ(path_.state(), PathState::down) << "but three lost questions are, as ever";
}

TEST_F(Path, AMachineThatStallsAllTheTimeFindsTheFaultAllTheSame) {
  answer_until(PathState::up);
  const TimePoint cut = now_;
  while (path_.state() != PathState::down && now_ - cut < 10s) {
    now_ += 500ms;
    path_.check(now_);
    ask();
  }
  EXPECT_LE(now_ - cut, 3s);
}

TEST_F(Path, AJitteryPathIsGivenWhatItNeeds) {
  SimulatedTunnel clean({10ms, 0ms, 0}, 1, 200ms, 3);
  SimulatedTunnel lossy({10ms, 100ms, 0.2}, 1, 200ms, 3);
  clean.run(clean.now + 5min);
  lossy.run(lossy.now + 5min);
  ASSERT_EQ(clean.path.state(), PathState::up);
  clean.line.cut = lossy.line.cut = true;
  const auto find = [](SimulatedTunnel& tunnel) {
    const TimePoint last = *tunnel.path.last_reply();
    while (tunnel.path.state() != PathState::down)
      tunnel.run(tunnel.now + 1ms);
    return tunnel.now - last;
  };
  EXPECT_LE(find(clean), 602ms);
  const auto patient = find(lossy);
  EXPECT_GT(patient, 650ms);
  EXPECT_LE(patient, 1002ms) << "never longer than a second";
}

TEST_F(Path, ALongRoundTripIsNoLoss) {
  SimulatedTunnel far({800ms, 0ms, 0}, 1, 200ms, 3);
  far.run(far.now + 10min);
  EXPECT_EQ(far.path.state(), PathState::up);
  EXPECT_EQ(far.path.losses().lost(), 0U);
  EXPECT_LE(far.falls, 1U) << "at the start, before it was known to be long";
}

TEST_F(Path, ForeignRepeatedAndAncientAnswersSayNothing) {
  const auto nonce = ask();
  EXPECT_FALSE(path_.on_reply(999, now_));
  EXPECT_TRUE(path_.on_reply(nonce, now_));
  EXPECT_FALSE(path_.on_reply(nonce, now_)) << "a second copy";
  EXPECT_EQ(path_.answered_total(), 1U);
  const auto old = ask();
  for (int i = 0; i < 64; ++i)
    ask();
  EXPECT_FALSE(path_.on_reply(old, now_)) << "older than what is remembered";
}

TEST_F(Path, CountsWhatIsLostAndForgivesWhatIsLate) {
  answer_until(PathState::up);
  for (int i = 0; i < 100; ++i) {
    now_ = path_.next_request(now_);
    path_.check(now_);
    const auto nonce = ask();
    if (i % 4 != 0) path_.on_reply(nonce, now_ + 10ms);
    path_.check(now_ + 190ms);
  }
  EXPECT_EQ(path_.losses().count(), path_.losses().size());
  EXPECT_NEAR(path_.losses().ratio(), 0.25, 0.1);
  const auto lost = path_.losses().lost();
  now_ = path_.next_request(now_);
  const auto late = ask();
  now_ += 250ms;
  path_.check(now_);
  EXPECT_GE(path_.losses().lost(), lost);
  const auto given_up = path_.losses().lost();
  path_.on_reply(late, now_);
  EXPECT_EQ(path_.losses().lost(), given_up - 1);
}

TEST_F(Path, KnowsThatThePeerDoesNotHearUs) {
  answer_until(PathState::up);
  EXPECT_TRUE(path_.hears_peer(now_));
  EXPECT_FALSE(path_.unheard(now_));
  silence(700ms);
  EXPECT_FALSE(path_.hears_peer(now_));
  path_.on_unheard(now_);
  EXPECT_TRUE(path_.unheard(now_ + 1s));
  EXPECT_FALSE(path_.unheard(now_ + 3s)) << "it would have said it again";
  answer_until(PathState::up);
  EXPECT_FALSE(path_.unheard(now_)) << "an answer refutes it";
}

TEST(ArrivalWindow, PhiIsTheNumberOfNinesAgainstLife) {
  ArrivalWindow window;
  EXPECT_NEAR(window.phi(200ms, 200ms), 0.3, 0.01) << "every second answer comes later than usual";
  for (int i = 0; i < 500; ++i)
    window.add(i % 2 == 0 ? 150ms : 250ms);  // mean 200, deviation 50
  EXPECT_NEAR(window.phi(200ms + 5 * 50ms, 1s), 6.54, 0.01);
  EXPECT_NEAR(static_cast<double>(window.suspicious(1s).count()) / 1e6, 200 + 5.612 * 50, 1);
}

TEST(RoundTrips, RememberTheShortest) {
  RoundTrips trips;
  TimePoint now{1h};
  trips.add(20ms, now);
  for (int i = 0; i < 100; ++i)
    trips.add(80ms, now += 1s);
  EXPECT_GT(*trips.smoothed(), 75ms);
  EXPECT_EQ(trips.baseline(), Duration(20ms));
  for (int i = 0; i < 700; ++i)
    trips.add(80ms, now += 1s);
  EXPECT_EQ(trips.baseline(), Duration(80ms)) << "after ten minutes the long way is the usual one";
}

}  // namespace
}  // namespace oceanid::tunnel
