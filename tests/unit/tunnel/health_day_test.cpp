// Days of simulated lines: no false alarm on ordinary ones, hard faults found in time on bad ones,
// and few switches under flapping.

#include "health_sim.hpp"
#include "tunnel/core/exit_select.hpp"
#include "tunnel/core/health_board.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::SimulatedLine;
using testing::SimulatedTunnel;

constexpr auto day = 24h;  // 432,000 echoes

TEST(HealthDay, NoFalseAlarmAtOnePercentLossAndJitter) {
  SimulatedTunnel tunnel({10ms, 20ms, 0.01}, 1, 200ms, 3);
  tunnel.run(tunnel.now + day);
  EXPECT_EQ(tunnel.falls, 0U);
  EXPECT_GT(tunnel.path.sent_total(), 432'000U);
  EXPECT_GT(tunnel.suspicions, 3000U) << "each lost echo is looked into";
  EXPECT_LT(tunnel.path.sent_total(), 460'000U) << "and costs three small packets, not a flood";
}

TEST(HealthDay, NoFalseAlarmOnALongJitteryLine) {
  SimulatedTunnel tunnel({250ms, 100ms, 0.01}, 2, 200ms, 3);
  tunnel.run(tunnel.now + day);
  EXPECT_EQ(tunnel.falls, 0U);
}

// Ten in a hundred lost at random is a broken line; even so a fall is rare: a regular echo and
// every extra one must be lost in a row.
TEST(HealthDay, FewFalseAlarmsAtTenPercentLoss) {
  SimulatedTunnel tunnel({30ms, 100ms, 0.10}, 3, 200ms, 3);
  tunnel.run(tunnel.now + day);
  EXPECT_LE(tunnel.falls, 10U);
}

struct Case {
  SimulatedLine line;
  std::uint32_t seed;
};

class HardFault : public ::testing::TestWithParam<Case> {};

// 200 cuts at all phases of the interval.
TEST_P(HardFault, IsFoundWithin800Milliseconds) {
  SimulatedTunnel tunnel(GetParam().line, GetParam().seed, 200ms, 3);
  Duration longest{0};
  for (int i = 0; i < 200; ++i) {
    tunnel.line.cut = false;
    tunnel.run(tunnel.now + 60s + i * 7ms);
    if (tunnel.path.state() == PathState::suspect) continue;  // under suspicion already
    ASSERT_EQ(tunnel.path.state(), PathState::up);
    tunnel.line.cut = true;
    const TimePoint cut = tunnel.now;
    TimePoint found = cut;
    tunnel.run(cut + 2s, [&](PathState state, TimePoint at) {
      if (state == PathState::down) found = at;
    });
    ASSERT_EQ(tunnel.path.state(), PathState::down) << i;
    longest = std::max<Duration>(longest, found - cut);
  }
  RecordProperty("longest_ms", static_cast<int>(longest / 1ms));
  std::printf("found after at most %lld ms\n", static_cast<long long>(longest / 1ms));
  EXPECT_LE(longest, 800ms);
}

INSTANTIATE_TEST_SUITE_P(Lines, HardFault,
                         ::testing::Values(Case{{1ms, 0ms, 0}, 1}, Case{{40ms, 20ms, 0.01}, 2},
                                           Case{{20ms, 100ms, 0}, 3}, Case{{150ms, 50ms, 0.02}, 4},
                                           Case{{20ms, 20ms, 0.10}, 5},
                                           Case{{50ms, 100ms, 0.10}, 6}));

// Two exits of a node, the state machines and the choice between them, as the gateway has them.
class Node {
 public:
  Node(SimulatedLine first, SimulatedLine second)
      : tunnels_{SimulatedTunnel(first, 7, 200ms, 3), SimulatedTunnel(second, 8, 200ms, 3)} {}

  // In steps of a tenth of a second.
  void run(Duration time, bool underlay = true) {
    const TimePoint end = now_ + time;
    while (now_ < end) {
      now_ += 100ms;
      std::vector<ExitEvidence> evidence;
      for (auto& tunnel : tunnels_) {
        tunnel.run(now_);
        auto& one = evidence.emplace_back();
        one.path = tunnel.path.state();
        one.loss = tunnel.path.losses().ratio();
        one.lost = tunnel.path.losses().lost();
        one.rtt = tunnel.path.rtt();
        one.baseline = tunnel.path.baseline();
      }
      board_.update(evidence, underlay, now_);
      std::vector<ExitCandidate> candidates;
      bool any = false;
      for (std::uint32_t i = 0; i < 2; ++i) {
        const ExitHealth& exit = board_.exits()[i];
        candidates.push_back({.state = exit.state(),
                              .impaired = exit.impaired(),
                              .silent = exit.fall() == Fall::echo,
                              .priority = i,
                              .rtt = evidence[i].rtt});
        any = any || usable(exit.state());
      }
      const auto before = selector_.current();
      const auto now = selector_.select(candidates, {}, now_, board_.underlay_down());
      if (now != before) ++switches;
      if (any && !now) without_ += 100ms;
    }
  }
  void cut(std::size_t exit, bool cut) { tunnels_[exit].line.cut = cut; }
  std::optional<std::size_t> current() const { return selector_.current(); }
  const HealthBoard& board() const { return board_; }
  Duration without() const { return without_; }
  std::uint64_t switches = 0;

 private:
  std::vector<SimulatedTunnel> tunnels_;
  HealthBoard board_{10s};
  ExitSelector selector_{10s};
  TimePoint now_{1h};
  Duration without_{0};  // nothing selected although something was usable
};

TEST(HealthDay, FlappingMovesTheTrafficSeldom) {
  Node node({10ms, 5ms, 0.001}, {30ms, 5ms, 0.001});
  node.run(10s);
  EXPECT_EQ(node.current(), 0U);
  const auto begin = node.switches;
  // Eight hours of an exit that dies every 30 seconds, for 5 of them.
  for (int i = 0; i < 8 * 120; ++i) {
    node.cut(0, true);
    node.run(5s);
    node.cut(0, false);
    node.run(25s);
  }
  std::printf("%llu switches in 960 flaps\n",
              static_cast<unsigned long long>(node.switches - begin));
  EXPECT_LE(node.switches - begin, 10U) << "without damping it would be 1920";
  EXPECT_EQ(node.without(), 0ns);
  node.run(5min);
  EXPECT_EQ(node.current(), 0U) << "and when the flapping ends, the preferred one is back";
}

// The one exit there is flaps: suppressed or not, it carries whenever it can.
TEST(HealthDay, TheLastUsableExitIsNeverSuppressed) {
  Node node({10ms, 5ms, 0.001}, {30ms, 5ms, 0.001});
  node.cut(1, true);
  node.run(10s);
  for (int i = 0; i < 120; ++i) {
    node.cut(0, true);
    node.run(5s);
    EXPECT_EQ(node.current(), std::nullopt);
    node.cut(0, false);
    node.run(5s);
    ASSERT_EQ(node.current(), 0U) << i;
  }
  EXPECT_EQ(node.board().exits()[0].state(), HealthState::hold);
  EXPECT_EQ(node.without(), 0ns);
}

TEST(HealthDay, AnOrdinaryDayHasNoSwitch) {
  Node node({10ms, 20ms, 0.01}, {30ms, 20ms, 0.01});
  node.run(10s);
  const auto begin = node.switches;
  node.run(6h);
  EXPECT_EQ(node.switches, begin);
}

TEST(HealthDay, ALineThatComesBackPunishesNobody) {
  Node node({10ms, 5ms, 0}, {30ms, 5ms, 0});
  node.run(10s);
  for (int i = 0; i < 5; ++i) {
    node.cut(0, true);
    node.cut(1, true);
    node.run(5s);
    EXPECT_TRUE(node.board().underlay_down());
    EXPECT_EQ(node.current(), std::nullopt);
    node.cut(0, false);
    node.cut(1, false);
    node.run(3s);
    EXPECT_FALSE(node.board().underlay_down());
    EXPECT_EQ(node.current(), 0U) << "no hold, no damping";
    EXPECT_EQ(node.board().exits()[0].state(), HealthState::up);
  }
}

}  // namespace
}  // namespace oceanid::tunnel
