#include "make.hpp"
#include "tunnel/core/echo_askers.hpp"
#include "tunnel/core/endpoint_text.hpp"
#include "tunnel/core/exit_proof.hpp"
#include "tunnel/core/probe_packet.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using namespace testing;

TEST(ProbePacket, RoundTrip) {
  const ProbePacket packet{ProbeType::reply, 0x0123456789abcdefU, 42, true};
  const ProbeBytes bytes = encode(packet);
  EXPECT_EQ(decode_probe(bytes), packet);
  EXPECT_EQ(bytes[8], 0x01);
  EXPECT_EQ(bytes[15], 0xef);
}

TEST(ProbePacket, AnExitSaysInItsAnswersWhatItIs) {
  ProbePacket answer{ProbeType::reply, 1, 2};
  for (const auto& ipv4 : {std::optional<IpAddress>(), std::optional(address("203.0.113.10"))})
    for (const auto& ipv6 : {std::optional<IpAddress>(), std::optional(address("2001:db8::10"))})
      for (const bool serves : {false, true}) {
        answer.word = ExitWord{serves, ipv4, ipv6};
        EXPECT_EQ(decode_probe(encode(answer)), answer);
      }
  ProbeBytes question = encode(answer);
  question[5] = static_cast<std::uint8_t>(ProbeType::request);
  EXPECT_FALSE(decode_probe(question)->word);
  answer.word.reset();
  EXPECT_EQ(decode_probe(encode(answer)), answer);
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

TEST(EchoAskers, TellsWhomItCeasedToHear) {
  EchoAskers askers;
  TimePoint now{1h};
  const SocketAddress regular = endpoint("10.99.0.2:40000");
  for (int i = 0; i < 20; ++i)
    askers.heard(regular, 7, i > 3, now += 200ms);
  askers.heard(endpoint("10.99.0.3:40000"), 8, false, now);  // asked once, by hand
  EXPECT_TRUE(askers.silent(now + 599ms).empty());
  const auto silent = askers.silent(now + 600ms);
  ASSERT_EQ(silent.size(), 1U);
  EXPECT_EQ(silent.front().to, regular);
  EXPECT_EQ(silent.front().socket, 7);
  EXPECT_TRUE(askers.silent(now + 61s).empty()) << "it has gone";
  EXPECT_EQ(askers.hears_us(regular.address, now), true);
  EXPECT_EQ(askers.hears_us(address("10.99.0.3"), now), false);
  EXPECT_EQ(askers.hears_us(address("10.99.0.4"), now), std::nullopt);
  EXPECT_EQ(askers.hears_us(regular.address, now + 61s), std::nullopt);
  EXPECT_FALSE(askers.last_heard(regular.address, now + 599ms)->lost);
  EXPECT_TRUE(askers.last_heard(regular.address, now + 600ms)->lost);
  EXPECT_TRUE(askers.last_heard(regular.address, now + 1h)->lost) << "for as long as it is dead";
  EXPECT_EQ(askers.last_heard(regular.address, now + 1h)->silence, 1h);
  EXPECT_FALSE(askers.last_heard(address("10.99.0.3"), now + 1h)->lost)
      << "it never asked regularly";
  EXPECT_FALSE(askers.last_heard(address("10.99.0.4"), now));
  askers.forget_socket(7);
  EXPECT_TRUE(askers.silent(now + 1s).empty());
}

TEST(Proof, OnlyAnEchoMakesItUsable) {
  const std::chrono::system_clock::time_point now{1'700'000'000s};
  PeerSnapshot peer;
  peer.endpoint = endpoint("192.0.2.1:51820");
  peer.last_handshake = now - 5s;
  EchoResult echo;
  echo.state = PathState::up;
  echo.rtt = 12'345us;
  EXPECT_EQ(judge(tunnel_findings(peer, echo, now)),
            (ExitProof{true, "echo through the tunnel in 12.3 ms"}));
  EXPECT_FALSE(judge(tunnel_findings({}, echo, now)).usable)
      << "the last answer is younger than the loss of the device";
  echo.state = PathState::suspect;
  EXPECT_TRUE(judge(tunnel_findings(peer, echo, now)).usable);
  echo.state = PathState::down;
  echo.silence = 1500ms;
  EXPECT_EQ(judge(tunnel_findings(peer, echo, now)),
            (ExitProof{false, "no echo through the tunnel for 1.5 s"}));
  peer.last_handshake = now - 200s;
  EXPECT_EQ(judge(tunnel_findings(peer, echo, now)).reason,
            "the last WireGuard handshake is 200 s old");
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
