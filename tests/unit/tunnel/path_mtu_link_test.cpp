#include "tunnel/core/path_mtu_link.hpp"

#include "make.hpp"

#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/evp.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Time = PathMtuLink::Time;

PublicKey public_of(const PrivateKey& own) {
  EVP_PKEY* pair =
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, own.bytes().data(), key_bytes);
  KeyBytes out{};
  std::size_t size = out.size();
  EVP_PKEY_get_raw_public_key(pair, out.data(), &size);
  EVP_PKEY_free(pair);
  return PublicKey(out);
}

PathProbeKey key_between(std::uint8_t own, std::uint8_t peer,
                         const std::optional<PresharedKey>& preshared = {}) {
  return PathProbeKey::derive(testing::private_key(own), public_of(testing::private_key(peer)),
                              preshared)
      .value();
}

TEST(PathProbePacket, GoesThereAndBack) {
  PathProbePacket packet;
  packet.type = PathProbeType::answer;
  packet.acked_size = 1500;
  packet.recipient = key_between(1, 2).recipient_of(PathProbeRole::dialler);
  packet.session = 0x0102030405060708;
  packet.to_session = 42;
  packet.number = 7;
  packet.acked = 8;
  packet.size = 108;
  packet.report = 1388;
  packet.applied = 1328;
  packet.sent = 99;
  const PathProbeBytes bytes = key_between(1, 2).seal(packet);
  EXPECT_EQ(path_probe_recipient(bytes), packet.recipient);
  EXPECT_EQ(key_between(2, 1).open(bytes), packet) << "both ends have the same key";
  EXPECT_EQ(key_between(2, 1).recipient_for(PathProbeRole::responder), packet.recipient);
  EXPECT_NE(key_between(2, 1).recipient_for(PathProbeRole::dialler), packet.recipient);
  EXPECT_NE(key_between(1, 2).recipient_for(PathProbeRole::responder), packet.recipient)
      << "a packet thrown back at its sender is for nobody";
}

TEST(PathProbePacket, AnyOtherKeyAndAnyOtherBitIsRefused) {
  const PathProbeBytes bytes = key_between(1, 2).seal({});
  EXPECT_FALSE(key_between(1, 3).open(bytes));
  EXPECT_FALSE(key_between(1, 2, testing::preshared_key(5)).open(bytes));
  for (std::size_t bit = 0; bit < path_probe_size * 8; ++bit) {
    PathProbeBytes other = bytes;
    other[bit / 8] = static_cast<std::uint8_t>(other[bit / 8] ^ (1U << (bit % 8)));
    EXPECT_FALSE(key_between(1, 2).open(other)) << bit;
  }
  EXPECT_FALSE(key_between(1, 2).open(std::span(bytes).first(79)));
}

TEST(PathProbePacket, AKeyOfSmallOrderSharesNothing) {
  EXPECT_FALSE(PathProbeKey::derive(testing::private_key(1), PublicKey(), {}));
}

TEST(ReplayWindow, TakesEachNumberOnce) {
  ReplayWindow window;
  EXPECT_FALSE(window.accept(0));
  for (const std::uint64_t number : {5U, 3U, 70U, 69U, 7U})
    EXPECT_TRUE(window.accept(number)) << number;
  for (const std::uint64_t number : {5U, 3U, 70U, 69U, 7U, 6U})
    EXPECT_FALSE(window.accept(number)) << number;
  EXPECT_TRUE(window.accept(1000));
  EXPECT_FALSE(window.accept(936));
  EXPECT_TRUE(window.accept(937));
}

// Two ends over a path with a size for each direction, in virtual time.
struct Pair {
  explicit Pair(unsigned there_mtu, unsigned back_mtu, unsigned least = smallest_inner_mtu)
      : there(there_mtu), back(back_mtu), least_inner(least) {
    dial(1);
    listen(2);
  }
  void dial(std::uint64_t session) {
    dialler = std::make_unique<PathMtuLink>(
        PathMtuLink::Settings{.least_inner = least_inner, .inner = 1440, .raise = 20s},
        key_between(1, 2), session, now);
  }
  void listen(std::uint64_t session) {
    responder =
        std::make_unique<PathMtuLink>(PathMtuLink::Settings{.role = PathProbeRole::responder,
                                                            .least_inner = least_inner,
                                                            .inner = 1440,
                                                            .raise = 20s},
                                      key_between(2, 1), session, now);
  }
  struct Travelling {
    bool to_responder;
    PathProbeBytes head;
    unsigned size;
  };
  void send(bool to_responder, const PathMtuLink::Datagram& datagram) {
    captured.push_back({to_responder, datagram.head, datagram.size});
    if (cut || datagram.size > (to_responder ? there : back)) return;
    arrivals.emplace(now + 10ms, captured.back());
  }
  void run(PathMtuLink::Duration duration) {
    const Time end = now + duration;
    while (now < end) {
      while (const auto question = dialler->next_question(now))
        send(true, *question);
      while (const auto question = responder->next_question(now)) {
        ASSERT_TRUE(located) << "it does not know yet where to send to";
        send(false, *question);
      }
      if (dialler->inner() > responder->inner() && responder->answered(now))
        dialler_above += now - last_look;
      last_look = now;
      Time next = std::min({dialler->wake_at(), responder->wake_at(), end});
      if (!arrivals.empty()) next = std::min(next, arrivals.begin()->first);
      now = std::max(next, now + 100us);
      while (!arrivals.empty() && arrivals.begin()->first <= now) {
        const Travelling one = arrivals.begin()->second;
        arrivals.erase(arrivals.begin());
        auto& end_of_it = one.to_responder ? *responder : *dialler;
        const auto heard = end_of_it.receive(one.head, one.size, now);
        if (heard.fresh && one.to_responder) located = true;
        if (heard.answer) {
          EXPECT_LE(heard.answer->size, one.size);
          send(!one.to_responder, *heard.answer);
        }
      }
      dialler->on_traffic(now);
      responder->on_traffic(now);
    }
  }
  Time now{std::chrono::hours(1)};
  unsigned there;
  unsigned back;
  unsigned least_inner;
  bool cut = false;
  bool located = false;
  std::unique_ptr<PathMtuLink> dialler;
  std::unique_ptr<PathMtuLink> responder;
  std::multimap<Time, Travelling> arrivals;
  std::vector<Travelling> captured;
  PathMtuLink::Duration dialler_above{};
  Time last_look = now;
};

TEST(PathMtuLink, BothEndsUseWhatBothDirectionsCarry) {
  for (const auto& [there, back] :
       {std::pair(1500U, 1500U), {1400U, 1500U}, {1500U, 1400U}, {1340U, 1420U}}) {
    Pair pair(there, back);
    pair.run(4s);
    const unsigned both = std::min(there, back);
    EXPECT_EQ(pair.dialler->path(), aligned_path_mtu(both, Family::v4));
    EXPECT_EQ(pair.responder->path(), aligned_path_mtu(both, Family::v4));
    EXPECT_EQ(pair.dialler->inner(), inner_mtu(both, Family::v4));
    EXPECT_EQ(pair.responder->inner(), inner_mtu(both, Family::v4));
  }
}

TEST(PathMtuLink, LowersOnBothEndsAndRaisesTheRespondersFirst) {
  for (const bool there : {true, false}) {
    Pair pair(1500, 1500);
    pair.run(8s);
    (there ? pair.there : pair.back) = 1400;
    pair.run(1500ms);
    EXPECT_EQ(pair.dialler->inner(), 1328U);
    EXPECT_EQ(pair.responder->inner(), 1328U);
    pair.run(5s);
    pair.dialler_above = {};
    (there ? pair.there : pair.back) = 1500;
    pair.run(25s);
    EXPECT_EQ(pair.dialler->inner(), 1440U);
    EXPECT_EQ(pair.responder->inner(), 1440U);
    EXPECT_EQ(pair.dialler_above, 0s) << "the responder raises first";
  }
}

// Probes pass, the tunnel's packets do not: both ends go down, and try again after a while that
// grows.
TEST(PathMtuLink, WhatTheTunnelContradictsIsNotBelievedForAWhile) {
  Pair pair(1500, 1500);
  pair.run(4s);
  for (const auto distrust : {20s, 40s}) {
    ASSERT_EQ(pair.dialler->inner(), 1440U);
    pair.dialler->on_contradiction(pair.now);
    pair.run(1s);
    EXPECT_EQ(pair.dialler->inner(), 1216U);
    EXPECT_EQ(pair.responder->inner(), 1216U);
    pair.dialler->on_contradiction(pair.now);  // which changes nothing any more
    pair.run(distrust - 2s);
    EXPECT_EQ(pair.dialler->inner(), 1216U);
    pair.run(4s);
    EXPECT_EQ(pair.responder->inner(), 1440U);
  }
  Pair narrow(1280, 1500);
  narrow.run(4s);
  narrow.dialler->on_contradiction(narrow.now);
  EXPECT_FALSE(narrow.dialler->contradicted()) << "there is nothing smaller to try";
}

TEST(PathMtuLink, Ipv6KeepsItsFloorAndSaysSo) {
  Pair pair(1300, 1500, ipv6_inner_mtu);
  pair.run(4s);
  EXPECT_EQ(pair.dialler->path(), aligned_path_mtu(1300, Family::v4));
  EXPECT_EQ(pair.dialler->inner(), 1280U);
  EXPECT_TRUE(pair.dialler->below_floor());
  EXPECT_TRUE(pair.responder->below_floor());
}

TEST(PathMtuLink, NobodyThereChangesNothingAndCostsLittle) {
  Pair pair(1500, 1500);
  pair.cut = true;
  pair.run(60s);
  EXPECT_FALSE(pair.dialler->path());
  EXPECT_FALSE(pair.dialler->answered(pair.now));
  EXPECT_EQ(pair.dialler->inner(), 1440U);
  EXPECT_LE(pair.captured.size(), 12U);
  for (const auto& one : pair.captured)
    EXPECT_EQ(one.size, 108U);
  pair.cut = false;
  pair.run(14s);
  EXPECT_TRUE(pair.dialler->path());
}

TEST(PathMtuLink, EitherEndMayRestart) {
  Pair pair(1400, 1500);
  pair.run(4s);
  pair.dial(11);
  pair.run(14s);
  EXPECT_EQ(pair.dialler->inner(), 1328U);
  EXPECT_TRUE(pair.responder->answered(pair.now));
  pair.listen(12);
  pair.run(14s);
  EXPECT_EQ(pair.responder->inner(), 1328U);
  EXPECT_TRUE(pair.dialler->answered(pair.now));
}

TEST(PathMtuLink, AReplayIsAnsweredAtMostAndNeverBelieved) {
  Pair pair(1500, 1500);
  pair.run(4s);
  const auto captured = pair.captured;
  for (const auto& one : captured)
    if (one.to_responder) {
      const auto heard = pair.responder->receive(one.head, one.size, pair.now);
      EXPECT_FALSE(heard.fresh);
    }
  // The same packets for a responder that has started anew.
  pair.listen(12);
  for (const auto& one : captured)
    if (one.to_responder) EXPECT_FALSE(pair.responder->receive(one.head, one.size, pair.now).fresh);
  EXPECT_FALSE(pair.responder->next_question(pair.now));
  EXPECT_EQ(pair.responder->wake_at(), Time::max());
}

// A session that is over does not come back, even if some of its packets never arrived.
TEST(PathMtuLink, AFormerSessionIsNotBelieved) {
  Pair pair(1500, 1500);
  pair.run(4s);
  const auto held_back = pair.dialler->next_question(pair.now + 10s);
  ASSERT_TRUE(held_back);
  pair.dial(11);
  pair.run(4s);
  EXPECT_FALSE(pair.responder->receive(held_back->head, held_back->size, pair.now).fresh);
}

TEST(PathMtuLink, WhatArrivesInAnotherSizeIsNoProof) {
  Pair pair(1500, 1500);
  const auto question = pair.dialler->next_question(pair.now);
  ASSERT_TRUE(question);
  EXPECT_FALSE(pair.responder->receive(question->head, question->size - 1, pair.now).answer);
  EXPECT_TRUE(pair.responder->receive(question->head, question->size, pair.now).answer);
}

TEST(PathMtuLink, AnswersAreBounded) {
  Pair pair(1500, 1500);
  unsigned answered = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto question = pair.dialler->next_question(pair.now + std::chrono::hours(i));
    ASSERT_TRUE(question);
    if (pair.responder->receive(question->head, question->size, pair.now).answer) ++answered;
  }
  EXPECT_EQ(answered, 300U);
}

TEST(PathMtuLink, ARoutersWordMustQuoteUs) {
  Pair pair(1500, 1500);
  pair.run(6s);
  PathProbeBytes forged{};
  pair.dialler->on_hint(forged, 1300, pair.now);
  EXPECT_FALSE(pair.dialler->search().in_doubt());
}

}  // namespace
}  // namespace oceanid::tunnel
