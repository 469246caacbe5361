#include "tunnel/core/rotation.hpp"

#include "make.hpp"
#include "tunnel/core/key_turn.hpp"
#include "tunnel/core/rotation_message.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using namespace testing;
using Phase = Rotation::Phase;
using Step = Rotation::Step;
using PeerState = Rotation::PeerState;

TEST(RotationMessage, SurvivesItsBytes) {
  for (const auto type : {RotationType::ask, RotationType::unknown, RotationType::ready,
                          RotationType::turned, RotationType::turning}) {
    const RotationMessage message{type, public_key(7)};
    EXPECT_EQ(decode_rotation(encode(message)), message);
  }
}

TEST(RotationMessage, AnythingElseIsNone) {
  const RotationBytes good = encode({RotationType::ask, public_key(7)});
  EXPECT_FALSE(decode_rotation(std::span(good).first(63)));
  EXPECT_FALSE(decode_rotation({}));
  for (const std::size_t at : {0UZ, 3UZ, 4UZ, 5UZ}) {
    RotationBytes bad = good;
    bad[at] = 99;
    EXPECT_FALSE(decode_rotation(bad)) << at;
  }
  RotationBytes none = good;
  none[5] = 0;
  EXPECT_FALSE(decode_rotation(none));
  RotationBytes padded = good;
  padded[63] = 1;
  EXPECT_TRUE(decode_rotation(padded)) << "padding is for later versions";
}

class Turn : public ::testing::Test {
 protected:
  KeyTurn::Verdict at(KeyTurn::Time now, std::optional<std::uint64_t> rx,
                      std::optional<KeyTurn::Time> silent_since = std::nullopt) {
    return turn_.observe(rx, silent_since, now);
  }
  KeyTurn turn_;
  const KeyTurn::Time start_{1h};
};

TEST_F(Turn, WhatTheWaitingKeyHadReceivedBeforeSaysNothing) {
  EXPECT_EQ(at(start_, 148), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 1s, 148), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 2s, 296), KeyTurn::Verdict::spoke);
}

TEST_F(Turn, APeerMadeAnewCountsFromZero) {
  EXPECT_EQ(at(start_, 1000), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 1s, 0), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 2s, 148), KeyTurn::Verdict::spoke);
  EXPECT_EQ(at(start_ + 3s, std::nullopt), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 4s, 148), KeyTurn::Verdict::stay) << "seen for the first time again";
}

TEST_F(Turn, StragglersOfTheFormerKeyAreNoWayBack) {
  at(start_, 0);
  EXPECT_EQ(at(start_ + 1s, 148), KeyTurn::Verdict::spoke);
  turn_.turned(start_ + 1s);
  EXPECT_EQ(at(start_ + 1100ms, 5000), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 5s, 6000), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 7s, 6000), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 8s, 6148), KeyTurn::Verdict::spoke) << "it has really gone back";
}

TEST_F(Turn, SilenceIsAReasonToTryTheOtherOnlyWhereWeDial) {
  EXPECT_EQ(at(start_, 0, start_), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 9s, 0, start_), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 60s, 0), KeyTurn::Verdict::stay);
  EXPECT_EQ(at(start_ + 10s, 0, start_), KeyTurn::Verdict::silent);
  turn_.turned(start_ + 10s);
  EXPECT_EQ(at(start_ + 19s, 0, start_), KeyTurn::Verdict::stay) << "the other gets its time, too";
  EXPECT_EQ(at(start_ + 20s, 0, start_), KeyTurn::Verdict::silent);
}

TEST(KeyBook, SurvivesItsText) {
  const KeyBook book{{"styx", public_key(1)}, {"tethys", public_key(2)}};
  EXPECT_EQ(decode_key_book(encode_key_book(book)), book);
  EXPECT_EQ(decode_key_book("styx\n" + encode_key_book(book) + "x not-a-key\n =\n"), book);
  EXPECT_TRUE(decode_key_book("").empty());
}

class OwnKey : public ::testing::Test {
 protected:
  void SetUp() override { rotation_.prepare(public_key(2), {"styx", "tethys"}); }
  void answer(const std::string& peer, RotationType type, std::uint8_t key_seed = 2) {
    rotation_.on_answer(peer, {type, public_key(key_seed)}, now_);
  }
  // Does what is due, as the edge would; the last step that was.
  Step go(bool ok = true) {
    Step last = Step::nothing;
    for (int i = 0; i < 10; ++i) {
      const Step step = rotation_.due(now_);
      if (step == Step::nothing) break;
      rotation_.done(step, ok, now_);
      last = step;
      if (step != Step::ask) break;
    }
    return last;
  }
  void turn() {
    answer("styx", RotationType::ready);
    answer("tethys", RotationType::ready);
    ASSERT_EQ(go(), Step::announce);
    now_ += Rotation::notice;
    ASSERT_EQ(go(), Step::turn);
  }

  Rotation rotation_;
  Rotation::Time now_{1h};
};

TEST_F(OwnKey, AsksAndWaitsForEveryPeer) {
  EXPECT_EQ(go(), Step::ask);
  EXPECT_EQ(go(), Step::nothing) << "not again at once";
  answer("styx", RotationType::ready);
  EXPECT_EQ(go(), Step::nothing) << "one of two";
  answer("tethys", RotationType::unknown);
  EXPECT_EQ(go(), Step::nothing);
  for (int i = 0; i < 100; ++i) {
    now_ += 2s;
    answer("styx", RotationType::ready);
    ASSERT_EQ(go(), Step::ask);
  }
  EXPECT_EQ(rotation_.phase(), Phase::waiting);
  EXPECT_EQ(rotation_.peers(now_).at(1).state, PeerState::silent) << "an old answer is none";
}

TEST_F(OwnKey, AnAnswerAboutAnotherKeyOrOfAStrangerIsNone) {
  go();
  answer("styx", RotationType::ready, 3);
  answer("tethys", RotationType::ready);
  answer("nobody", RotationType::ready);
  EXPECT_EQ(go(), Step::nothing);
  EXPECT_EQ(rotation_.peers(now_).at(0).state, PeerState::silent);
}

TEST_F(OwnKey, TurnsAfterAnnouncingAndForgetsTheFormerKeyAfterThreeMinutes) {
  go();
  turn();
  EXPECT_EQ(rotation_.phase(), Phase::turned);
  EXPECT_EQ(go(), Step::ask) << "the question starts the handshakes";
  answer("styx", RotationType::turned);
  answer("tethys", RotationType::turned);
  now_ += 60s;
  EXPECT_EQ(go(), Step::nothing) << "everybody is back: no more questions, no way back";
  now_ += 119s;
  EXPECT_EQ(go(), Step::nothing);
  now_ += 1s;
  EXPECT_EQ(go(), Step::forget);
  EXPECT_EQ(rotation_.phase(), Phase::none);
  EXPECT_FALSE(rotation_.keeps_former());
}

TEST_F(OwnKey, GoesBackForAPeerThatDoesNotComeBack) {
  go();
  turn();
  go();
  answer("styx", RotationType::turned);
  now_ += 29s;
  EXPECT_EQ(go(), Step::ask);
  now_ += 1s;
  EXPECT_EQ(go(), Step::go_back);
  EXPECT_EQ(rotation_.phase(), Phase::waiting);
  EXPECT_NE(rotation_.held().find("tethys"), std::string::npos);
  EXPECT_EQ(rotation_.held().find("styx"), std::string::npos);
  answer("styx", RotationType::ready);
  answer("tethys", RotationType::ready);
  go();
  EXPECT_EQ(rotation_.phase(), Phase::waiting) << "not again by itself";
  rotation_.release();
  EXPECT_EQ(go(), Step::announce) << "the operator has asked again";
}

TEST_F(OwnKey, ForcedItTurnsWithoutAnswersAndNeverBack) {
  rotation_.force();
  EXPECT_EQ(go(), Step::announce);
  now_ += Rotation::notice;
  EXPECT_EQ(go(), Step::turn);
  EXPECT_EQ(go(), Step::ask) << "who does not know the key yet may learn it";
  now_ += 31s;
  EXPECT_EQ(go(), Step::ask);
  EXPECT_EQ(rotation_.phase(), Phase::turned);
}

TEST_F(OwnKey, ATurnThatFailsOnDiskIsHeld) {
  rotation_.force();
  go();
  now_ += Rotation::notice;
  EXPECT_EQ(rotation_.due(now_), Step::turn);
  EXPECT_EQ(go(/*ok=*/false), Step::turn);
  EXPECT_EQ(rotation_.phase(), Phase::waiting);
  EXPECT_FALSE(rotation_.held().empty());
  EXPECT_FALSE(rotation_.keeps_former());
}

TEST_F(OwnKey, AbandonedItAsksNobody) {
  rotation_.abandon();
  EXPECT_EQ(go(), Step::nothing);
  EXPECT_EQ(rotation_.phase(), Phase::none);
}

TEST_F(OwnKey, AReloadWithOtherPeersAsksTheNewOnesToo) {
  go();
  answer("styx", RotationType::ready);
  answer("tethys", RotationType::ready);
  rotation_.prepare(public_key(2), {"styx", "meliae"});
  EXPECT_EQ(go(), Step::nothing);
  EXPECT_EQ(rotation_.peers(now_).at(0).state, PeerState::ready) << "what is known stays";
  answer("meliae", RotationType::ready);
  EXPECT_EQ(go(), Step::announce);
}

TEST(OwnKeyAlone, AFormerKeyFoundAtTheStartGoesAfterThreeMinutes) {
  Rotation rotation;
  const Rotation::Time start{1h};
  rotation.found_former(start);
  rotation.found_former(start + 100s);
  EXPECT_EQ(rotation.due(start + 179s), Step::nothing);
  EXPECT_EQ(rotation.due(start + 180s), Step::forget);
}

}  // namespace
}  // namespace oceanid::tunnel
