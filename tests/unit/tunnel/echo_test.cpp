#include "make.hpp"
#include "tunnel/core/echo_tracker.hpp"
#include "tunnel/core/endpoint_text.hpp"
#include "tunnel/core/exit_proof.hpp"
#include "tunnel/core/probe_packet.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using namespace testing;

class Echo : public ::testing::Test {
 protected:
  // One turn of the prober: judge, then ask. The answer (if any) comes `rtt` later.
  EchoState turn(bool answered, EchoTracker::Duration rtt = 10ms) {
    tracker_.check(now_);
    tracker_.on_sent(++nonce_, now_);
    if (answered) {
      EXPECT_TRUE(tracker_.on_reply(nonce_, now_ + rtt));
    }
    now_ += 200ms;
    return tracker_.check(now_);
  }

  EchoTracker tracker_{200ms, 3};
  EchoTracker::Time now_{1h};
  std::uint64_t nonce_ = 0;
};

TEST_F(Echo, IsUpAtTheFirstAnswer) {
  EXPECT_EQ(tracker_.state(), EchoState::unknown);
  EXPECT_EQ(turn(true), EchoState::up);
  EXPECT_EQ(tracker_.rtt(), EchoTracker::Duration(10ms));
  EXPECT_EQ(tracker_.unanswered(), 0U);
}

TEST_F(Echo, IsDownThreeIntervalsAfterTheLastAnswer) {
  turn(true);
  const auto last_answer = now_ - 200ms + 10ms;
  turn(false);
  EXPECT_EQ(tracker_.verdict_at(), std::nullopt) << "two questions are not three";
  turn(false);
  tracker_.on_sent(++nonce_, now_);  // the third, 600 ms after the one that was answered
  EXPECT_EQ(tracker_.check(now_), EchoState::up);
  ASSERT_EQ(tracker_.verdict_at(), last_answer + 600ms);
  EXPECT_EQ(tracker_.check(last_answer + 600ms - 1ns), EchoState::up);
  EXPECT_EQ(tracker_.check(last_answer + 600ms), EchoState::down);
  EXPECT_EQ(tracker_.since(), last_answer + 600ms);
}

TEST_F(Echo, TwoLossesAreNotDown) {
  turn(true);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(turn(false), EchoState::up);
    EXPECT_EQ(turn(false), EchoState::up);
    EXPECT_EQ(turn(true), EchoState::up);
  }
  EXPECT_EQ(tracker_.sent_total(), 61U);
  EXPECT_EQ(tracker_.answered_total(), 21U);
}

TEST_F(Echo, ComesBackWithOneAnswer) {
  turn(true);
  while (turn(false) != EchoState::down) {
  }
  EXPECT_EQ(tracker_.answered_in_row(), 0U);
  EXPECT_EQ(turn(true), EchoState::up);
  EXPECT_EQ(tracker_.answered_in_row(), 1U);
}

TEST_F(Echo, NeverAnsweredIsDownAfterThreeIntervals) {
  turn(false);
  turn(false);
  EXPECT_EQ(tracker_.check(now_), EchoState::unknown);
  EXPECT_EQ(turn(false), EchoState::down);
}

TEST_F(Echo, OurOwnPauseIsNoProofAgainstTheTunnel) {
  turn(true);
  now_ += 1h;  // the process was stopped
  EXPECT_EQ(tracker_.check(now_), EchoState::up);
  EXPECT_EQ(turn(false), EchoState::up);
  EXPECT_EQ(turn(false), EchoState::up);
  EXPECT_EQ(turn(false), EchoState::down) << "but three lost questions are, as ever";
}

TEST_F(Echo, ALongRoundTripIsNoLoss) {
  for (int i = 0; i < 20; ++i) {
    tracker_.check(now_);
    tracker_.on_sent(++nonce_, now_);
    if (nonce_ > 4) {
      EXPECT_TRUE(tracker_.on_reply(nonce_ - 4, now_ + 1ms));  // 801 ms for each
    }
    now_ += 200ms;
    if (nonce_ > 4) {
      EXPECT_EQ(tracker_.check(now_), EchoState::up);
    }
  }
}

TEST_F(Echo, ForeignRepeatedAndAncientAnswersSayNothing) {
  turn(false);
  EXPECT_FALSE(tracker_.on_reply(999, now_));
  EXPECT_EQ(tracker_.state(), EchoState::unknown);
  EXPECT_TRUE(tracker_.on_reply(1, now_));
  EXPECT_FALSE(tracker_.on_reply(1, now_)) << "a second copy";
  EXPECT_EQ(tracker_.answered_total(), 1U);
  const std::uint64_t old = nonce_ + 1;
  for (int i = 0; i < 33; ++i)
    turn(false);
  EXPECT_FALSE(tracker_.on_reply(old, now_)) << "older than what is remembered";
  EXPECT_EQ(tracker_.state(), EchoState::down);
}

TEST(ProbePacket, RoundTrip) {
  const ProbePacket packet{ProbeType::reply, 0x0123456789abcdefU, 42};
  const ProbeBytes bytes = encode(packet);
  EXPECT_EQ(decode_probe(bytes), packet);
  EXPECT_EQ(bytes[8], 0x01);
  EXPECT_EQ(bytes[15], 0xef);
}

TEST(ProbePacket, RefusesEverythingElse) {
  const ProbeBytes good = encode({ProbeType::request, 1, 2});
  EXPECT_FALSE(decode_probe(std::span(good).first(63)));
  EXPECT_FALSE(decode_probe({}));
  for (std::size_t at = 0; at < 6; ++at) {
    ProbeBytes bad = good;
    bad[at] ^= 0x40U;
    EXPECT_FALSE(decode_probe(bad)) << at;
  }
  ProbeBytes padded = good;
  padded[63] = 0xff;
  EXPECT_TRUE(decode_probe(padded)) << "padding is ignored";
  std::array<std::uint8_t, 1412> full_size{};
  std::ranges::copy(good, full_size.begin());
  EXPECT_TRUE(decode_probe(full_size));
}

class Proof : public ::testing::Test {
 protected:
  PeerSnapshot peer(std::chrono::seconds age) {
    PeerSnapshot snapshot;
    snapshot.endpoint = endpoint("192.0.2.1:51820");
    snapshot.last_handshake = now_ - age;
    return snapshot;
  }
  std::chrono::system_clock::time_point now_{1'700'000'000s};
};

TEST_F(Proof, OnlyAnEchoMakesItUsable) {
  EchoResult echo;
  echo.state = EchoState::up;
  echo.rtt = 12'345us;
  EXPECT_EQ(judge(peer(5s), echo, now_), (ExitProof{true, "echo through the tunnel in 12.3 ms"}));
  echo.state = EchoState::down;
  echo.silence = 1500ms;
  EXPECT_EQ(judge(peer(5s), echo, now_),
            (ExitProof{false, "no echo through the tunnel for 1.5 s"}));
  echo = EchoResult();
  echo.sent = 1;
  EXPECT_EQ(judge(peer(5s), echo, now_),
            (ExitProof{false, "handshake done, but no echo through the tunnel"}));
  echo.sent = 0;
  EXPECT_EQ(judge(peer(5s), echo, now_), (ExitProof{false, "not probed yet"}));
}

TEST_F(Proof, NamesTheDeepestReason) {
  EchoResult echo;
  echo.state = EchoState::down;
  echo.sent = 9;
  EXPECT_EQ(judge({}, echo, now_).reason, "the tunnel's interface is missing");
  EXPECT_EQ(judge(peer(200s), echo, now_).reason, "the last WireGuard handshake is 200 s old");
  PeerSnapshot fresh = peer(5s);
  fresh.last_handshake.reset();
  EXPECT_EQ(judge(fresh, echo, now_).reason, "no WireGuard handshake with 192.0.2.1:51820 yet");
  fresh.endpoint.reset();
  EXPECT_EQ(judge(fresh, echo, now_).reason, "the endpoint has no address yet");
}

TEST_F(Proof, AMissingInterfaceIsNeverUsable) {
  EchoResult echo;
  echo.state = EchoState::up;  // the last answer is younger than the loss of the link
  EXPECT_FALSE(judge({}, echo, now_).usable);
}

TEST(EndpointText, RoundTripAndLenience) {
  const AddressBook book{{"a.example", {address("192.0.2.1"), address("2001:db8::1")}},
                         {"b.example", {address("198.51.100.1")}}};
  EXPECT_EQ(decode_book(encode_book(book)), book);
  EXPECT_EQ(decode_book("a.example 192.0.2.1 nonsense 2001:db8::1\n\nlonely\n 192.0.2.9\n"
                        "b.example 198.51.100.1"),
            book)
      << "what cannot be read is left out";
  EXPECT_TRUE(decode_book("").empty());
}

TEST(EndpointText, IsBounded) {
  std::string text;
  for (int i = 0; i < 5000; ++i)
    text += "n" + std::to_string(i) + " 192.0.2.1\n";
  EXPECT_EQ(decode_book(text).size(), max_book_names);
  std::string many = "name";
  for (int i = 0; i < 100; ++i)
    many += " 192.0.2.1";
  EXPECT_EQ(decode_book(many)["name"].size(), max_book_addresses);
}

}  // namespace
}  // namespace oceanid::tunnel
