#include "tunnel/core/frame_codec.hpp"

#include "tunnel/core/connect_answer.hpp"
#include "tunnel/core/transport_hello.hpp"

#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using ::testing::ElementsAre;
using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> decode(FrameDecoder& decoder, ByteSpan bytes) {
  std::vector<Bytes> out;
  decoder.feed(bytes);
  while (const auto datagram = decoder.next())
    out.emplace_back(datagram->begin(), datagram->end());
  return out;
}

TEST(Frames, AreTheLengthInTwoBytesBigEndianAndTheDatagram) {
  Bytes out;
  append_frame(out, Bytes{1, 2, 3});
  append_frame(out, Bytes(258, 7));
  EXPECT_THAT(Bytes(out.begin(), out.begin() + 7), ElementsAre(0, 3, 1, 2, 3, 1, 2));
  EXPECT_EQ(out.size(), 2U + 3U + 2U + 258U);
}

TEST(Frames, ComeOutAsTheyWentInHoweverTheStreamIsCut) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Bytes> sent;
    Bytes stream;
    for (int i = 0; i < 20; ++i) {
      Bytes datagram(random() % (round % 10 == 0 ? 60000 : 1500));
      for (auto& byte : datagram)
        byte = static_cast<std::uint8_t>(random());
      append_frame(stream, datagram);
      sent.push_back(std::move(datagram));
    }
    std::vector<Bytes> got;
    FrameDecoder decoder;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t step = std::min<std::size_t>(1 + random() % 4000, stream.size() - at);
      for (auto& one : decode(decoder, ByteSpan(stream).subspan(at, step)))
        got.push_back(std::move(one));
      at += step;
      ASSERT_LE(decoder.held(), frame_header_bytes + max_datagram_bytes);
    }
    ASSERT_EQ(got, sent);
    ASSERT_FALSE(decoder.broken());
  }
}

TEST(Frames, OfLengthZeroAreHandedOut) {
  FrameDecoder decoder;
  EXPECT_THAT(decode(decoder, Bytes{0, 0, 0, 1, 9, 0}), ElementsAre(Bytes{}, Bytes{9}));
  EXPECT_THAT(decode(decoder, Bytes{0}), ElementsAre(Bytes{}));
}

TEST(Frames, ThatNoUdpPacketCanBeEndTheStream) {
  Bytes largest{0xff, 0xe3};  // 65507
  largest.resize(2 + max_datagram_bytes);
  FrameDecoder fits;
  EXPECT_EQ(decode(fits, largest).size(), 1U);
  FrameDecoder decoder;
  EXPECT_THAT(decode(decoder, Bytes{0, 1, 5, 0xff, 0xe4, 0, 1, 6}), ElementsAre(Bytes{5}));
  EXPECT_TRUE(decoder.broken());
  EXPECT_THAT(decode(decoder, Bytes{0, 1, 5}), ElementsAre()) << "and it stays ended";
}

TEST(TransportHello, SurvivesTheWireAndNothingElseIsOne) {
  Hello hello;
  hello.kind = HelloKind::accepted;
  hello.session.fill(0xab);
  hello.mac.fill(0xcd);
  const HelloBytes bytes = encode(hello);
  EXPECT_EQ(decode_hello(bytes), hello);
  EXPECT_EQ(decode_hello(ByteSpan(bytes).first(hello_bytes - 1)), std::nullopt);
  for (std::size_t i = 0; i < 8; ++i) {
    HelloBytes wrong = bytes;
    wrong[i] ^= 0x40;
    EXPECT_EQ(decode_hello(wrong), std::nullopt) << i;
  }
}

TEST(ReachProbes, AreAsLongAsTheirAnswersAndBeginWithTheMagicOfTheFilter) {
  ReachProbe probe;
  probe.nonce = 0x0102030405060708;
  probe.mac.fill(9);
  const ReachBytes question = encode(probe);
  EXPECT_EQ(decode_reach(question), probe);
  probe.type = ReachType::answer;
  EXPECT_EQ(encode(probe).size(), question.size());
  EXPECT_NE(encode(probe), question);
  EXPECT_EQ(reach_magic, (unsigned{question[0]} << 24U) + (unsigned{question[1]} << 16U) +
                             (unsigned{question[2]} << 8U) + question[3]);
  for (std::size_t i = 0; i < 8; ++i) {
    ReachBytes wrong = question;
    wrong[i] ^= 0x40;
    EXPECT_EQ(decode_reach(wrong), std::nullopt) << i;
  }
}

TEST(ConnectAnswers, AreGrantedByTwoHundredsOnlyAndEndWhereTheHeadEnds) {
  using State = ConnectAnswer::State;
  const auto says = [](std::string_view text) {
    ConnectAnswer answer;
    State state = State::need_more;
    for (const char c : text)
      state = answer.feed({&c, 1});
    return state;
  };
  EXPECT_EQ(says("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"), State::granted);
  EXPECT_EQ(says("HTTP/1.0 204\r\n\r\n"), State::granted);
  EXPECT_EQ(says("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), State::refused);
  EXPECT_EQ(says("HTTP/1.1 200 OK\r\n"), State::need_more);
  EXPECT_EQ(says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), State::granted);
  EXPECT_EQ(says("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 No\r\n\r\n"), State::refused);
  for (const auto* wrong : {"HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1 20\r\n\r\n",
                            "SSH-2.0-x\r\n\r\n", "HTTP/1.1 700 x\r\n\r\n", "\r\n\r\n"})
    EXPECT_EQ(says(wrong), State::broken) << wrong;
  EXPECT_EQ(says("HTTP/1.1 200 " + std::string(9000, 'x')), State::broken);
  ConnectAnswer answer;
  const std::string whole = "HTTP/1.1 200 OK\r\n\r\n";
  EXPECT_EQ(answer.feed(whole + "TLS"), State::granted);
  EXPECT_EQ(answer.taken(), whole.size()) << "what follows is the destination's";
}

}  // namespace
}  // namespace oceanid::tunnel
