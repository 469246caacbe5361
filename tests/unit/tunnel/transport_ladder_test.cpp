#include "tunnel/core/transport_ladder.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Time = TransportLadder::Time;
using Duration = TransportLadder::Duration;

// A path that lets some rungs through, and a peer that lives or not, around one ladder. Echoes go
// every 200 ms by the rung in use; TLS takes 60 ms to stand.
class World {
 public:
  explicit World(LadderPolicy policy = {}) : ladder_(policy, now_) {}

  void run(Duration duration) {
    const Time end = now_ + duration;
    while (now_ < end)
      step();
  }
  // Until the ladder uses `rung`; how long that took.
  Duration until(Transport rung, Duration patience) {
    const Time begin = now_;
    while (now_ - begin < patience && ladder_.current() != rung)
      step();
    return now_ - begin;
  }

  bool carries(Transport rung) const {
    if (!peer_alive) return false;
    if (is_udp(rung)) return udp_passes.at(rung) && wireguard_passes;
    return passes_tls(rung);
  }

  std::map<Transport, bool> udp_passes{{Transport::udp, true}, {Transport::udp_443, true}};
  bool wireguard_passes = true;  // false: somebody knows its packets, and lets probes through
  bool tls_passes = true;
  bool proxy_passes = true;
  bool peer_alive = true;
  bool answers_probes = true;
  double probe_loss = 0;
  Duration longest_gap{0};

  TransportLadder& ladder() { return ladder_; }
  TransportLadder::Orders orders() const { return orders_; }
  Time now() const { return now_; }

 private:
  bool passes_tls(Transport rung) const {
    return rung == Transport::tls ? tls_passes : proxy_passes;
  }

  void step() {
    constexpr Duration tick = 20ms;
    now_ += tick;
    if (now_ - last_echo_sent_ >= 200ms) {
      last_echo_sent_ = now_;
      if (carries(ladder_.current()) && (is_udp(ladder_.current()) || up_[ladder_.current()])) {
        if (heard_) longest_gap = std::max(longest_gap, now_ - *heard_);
        heard_ = now_;
        ladder_.on_echo(now_);
      }
    }
    if (orders_.probe_every > 0ns && now_ - last_probe_ >= orders_.probe_every) {
      last_probe_ = now_;
      for (const auto& [rung, passes] : udp_passes)
        if (passes && peer_alive && answers_probes && chance_(random_) >= probe_loss)
          ladder_.on_answer(rung, now_);
    }
    link(Transport::tls, orders_.dial_tls);
    link(Transport::proxied, orders_.dial_proxied);
    orders_ = ladder_.advance(now_);
  }

  void link(Transport rung, bool wanted) {
    const bool stands = wanted && peer_alive && passes_tls(rung);
    if (!stands) {
      dialled_.erase(rung);
      if (up_[rung]) ladder_.on_link(rung, up_[rung] = false, now_);
      return;
    }
    const Time begun = dialled_.emplace(rung, now_).first->second;
    if (!up_[rung] && now_ - begun >= 60ms) ladder_.on_link(rung, up_[rung] = true, now_);
  }

  Time now_{1h};
  TransportLadder ladder_;
  TransportLadder::Orders orders_;
  Time last_echo_sent_{};
  Time last_probe_{};
  std::optional<Time> heard_;
  std::map<Transport, Time> dialled_;
  std::map<Transport, bool> up_;
  std::mt19937 random_{5};
  std::uniform_real_distribution<> chance_{0, 1};
};

TEST(Ladder, StaysOnUdpAndAsksNobodyAsLongAsEchoesComeBack) {
  World world;
  world.run(10min);
  EXPECT_EQ(world.ladder().current(), Transport::udp);
  EXPECT_EQ(world.ladder().moves(), 0U);
  EXPECT_EQ(world.orders(), TransportLadder::Orders{});
}

TEST(Ladder, TakesTlsAfterASecondOfSilence) {
  World world;
  world.run(30s);
  world.udp_passes = {{Transport::udp, false}, {Transport::udp_443, false}};
  EXPECT_LE(world.until(Transport::tls, 1min), 1300ms);
  world.run(10s);
  EXPECT_LE(world.longest_gap, 1600ms);
  EXPECT_EQ(world.ladder().moves(), 1U);
}

TEST(Ladder, PrefersUdp443ToTls) {
  World world;
  world.run(30s);
  world.udp_passes[Transport::udp] = false;
  world.until(Transport::udp_443, 1min);
  world.run(10s);
  EXPECT_EQ(world.ladder().current(), Transport::udp_443);
  EXPECT_LE(world.longest_gap, 1600ms);
}

TEST(Ladder, AtAStartFindsTheFirstRungThatCarries) {
  World second;
  second.udp_passes[Transport::udp] = false;
  EXPECT_LE(second.until(Transport::udp_443, 1min), 800ms);
  World third;
  third.udp_passes = {{Transport::udp, false}, {Transport::udp_443, false}};
  EXPECT_LE(third.until(Transport::tls, 1min), 1300ms);
  LadderPolicy policy;
  policy.allowed[index_of(Transport::proxied)] = true;
  World fourth(policy);
  fourth.udp_passes = third.udp_passes;
  fourth.tls_passes = false;
  EXPECT_LE(fourth.until(Transport::proxied, 1min), 1500ms);
}

TEST(Ladder, ReturnsAfterAMinuteOfAnswersAndTlsStaysUntilThatIsProven) {
  World world;
  world.run(5s);
  world.udp_passes = {{Transport::udp, false}, {Transport::udp_443, false}};
  world.run(5min);
  EXPECT_EQ(world.ladder().current(), Transport::tls);
  world.udp_passes[Transport::udp] = true;
  const Duration back = world.until(Transport::udp, 10min);
  EXPECT_GE(back, 60s);
  EXPECT_LE(back, 70s);
  world.longest_gap = 0s;
  world.run(1s);
  EXPECT_TRUE(world.orders().dial_tls);
  world.run(1min);
  EXPECT_FALSE(world.orders().dial_tls);
  EXPECT_LE(world.longest_gap, 220ms);
  EXPECT_EQ(world.ladder().moves(), 2U);
}

TEST(Ladder, ARelapseDoublesThePatienceUpToHalfAnHourAndARealReturnResetsIt) {
  World world;
  world.udp_passes[Transport::udp_443] = false;
  world.run(5s);
  Duration expected = 60s;
  for (int relapse = 0; relapse < 7; ++relapse) {
    world.udp_passes[Transport::udp] = false;
    world.until(Transport::tls, 1min);
    world.udp_passes[Transport::udp] = true;
    const Duration back = world.until(Transport::udp, 1h);
    EXPECT_GE(back, expected);
    EXPECT_LE(back, expected + 15s);
    world.run(20s);
    expected = std::min<Duration>(expected * 2, 30min);
  }
  EXPECT_EQ(world.ladder().patience(), 30min);
  world.run(11min);
  EXPECT_EQ(world.ladder().patience(), 60s);
}

TEST(Ladder, IsNotFooledByAFirewallThatPassesProbesOnly) {
  World world;
  world.run(5s);
  world.wireguard_passes = false;
  world.run(1min);
  EXPECT_EQ(world.ladder().current(), Transport::tls);
  const auto moves = world.ladder().moves();
  world.longest_gap = 0s;
  world.run(4h);  // it tries UDP again and again, ever more rarely, and each try is short
  EXPECT_LE(world.longest_gap, 1600ms);
  EXPECT_LE(world.ladder().moves() - moves, 40U);
  world.run(10min);
}

TEST(Ladder, ADeadPeerIsWaitedForWithoutSpinning) {
  World world;
  world.run(5s);
  world.peer_alive = false;
  world.run(1h);
  EXPECT_EQ(world.ladder().moves(), 0U) << "no evidence anywhere";
  world.peer_alive = true;
  world.run(2s);
  EXPECT_EQ(world.ladder().current(), Transport::udp);
}

// The peer answers every probe and TLS stands, but its WireGuard is gone.
TEST(Ladder, WhereEverythingAnswersAndNothingCarriesItsTrialsGrow) {
  Time now{1h};
  TransportLadder ladder({}, now);
  ladder.on_echo(now);
  for (const Time end = now + 1h; now < end; now += 50ms) {
    ladder.on_answer(Transport::udp, now);
    ladder.on_link(Transport::tls, true, now);
    ladder.advance(now);
  }
  EXPECT_LE(ladder.moves(), 100U);
  EXPECT_GE(ladder.moves(), 20U) << "and it goes on trying";
}

TEST(Ladder, TlsOnlyNeverLeavesTls) {
  LadderPolicy policy;
  policy.allowed = {false, false, true, false};
  World world(policy);
  world.run(1min);
  EXPECT_EQ(world.ladder().current(), Transport::tls);
  EXPECT_TRUE(world.orders().dial_tls);
  EXPECT_EQ(world.orders().probe_every, Duration(0));
}

TEST(Ladder, ALossyPathOfProbesStillLeadsBack) {
  World world;
  world.run(5s);
  world.udp_passes = {{Transport::udp, false}, {Transport::udp_443, false}};
  world.run(1min);
  world.udp_passes[Transport::udp] = true;
  world.probe_loss = 0.1;
  EXPECT_LE(world.until(Transport::udp, 10min), 5min);
}

// Whatever a path does: when one rung has carried for a while the tunnel carries; when UDP has
// carried for long enough the tunnel is back on it; and it never spins.
TEST(Ladder, FollowsAnyPathAndNeverSpins) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    LadderPolicy policy;
    policy.allowed[index_of(Transport::proxied)] = random() % 2 == 0;
    World world(policy);
    for (int phase = 0; phase < 12; ++phase) {
      world.udp_passes = {{Transport::udp, random() % 2 == 0},
                          {Transport::udp_443, random() % 2 == 0}};
      world.tls_passes = random() % 2 == 0;
      world.proxy_passes = random() % 2 == 0;
      world.peer_alive = random() % 6 != 0;
      const auto moves = world.ladder().moves();
      world.run(30s + std::chrono::seconds(random() % 90));
      const bool possible =
          world.carries(Transport::udp) || world.carries(Transport::udp_443) ||
          world.carries(Transport::tls) ||
          (policy.allowed[index_of(Transport::proxied)] && world.carries(Transport::proxied));
      if (possible) EXPECT_TRUE(world.carries(world.ladder().current())) << seed << " " << phase;
      EXPECT_LE(world.ladder().moves() - moves, 6U) << seed << " " << phase;
    }
    world.udp_passes[Transport::udp] = true;
    world.peer_alive = true;
    world.run(31min);
    EXPECT_EQ(world.ladder().current(), Transport::udp) << seed;
  }
}

}  // namespace
}  // namespace oceanid::tunnel
