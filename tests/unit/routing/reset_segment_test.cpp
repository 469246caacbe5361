#include "routing/core/reset_segment.hpp"

#include <numeric>
#include <span>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAreArray;

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

// The sum of RFC 1071 over everything that a right checksum covers, itself included, is 0xffff.
std::uint32_t sum(std::span<const std::uint8_t> bytes) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
    out += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  return out;
}
std::uint32_t folded(std::uint32_t value) {
  while (value >> 16 != 0)
    value = (value & 0xffff) + (value >> 16);
  return value;
}

TEST(WakingSegment, ComesFromTheOtherEnd) {
  const FlowTuple tuple{address("10.42.1.7"), address("192.0.2.80"), 40000, 5432, tcp_number};
  const auto packet = waking_segment(tuple, 0x01020304);
  ASSERT_EQ(packet.size(), 40U);
  const std::span<const std::uint8_t> bytes(packet);
  EXPECT_EQ(packet[0], 0x45);
  EXPECT_EQ(packet[3], 40);
  EXPECT_EQ(packet[9], tcp_number);
  EXPECT_EQ(folded(sum(bytes.first(20))), 0xffffU);
  EXPECT_THAT(bytes.subspan(12, 8), ElementsAreArray({192, 0, 2, 80, 10, 42, 1, 7}));
  EXPECT_THAT(bytes.subspan(20, 8), ElementsAreArray({0x15, 0x38, 0x9c, 0x40, 1, 2, 3, 4}));
  EXPECT_EQ(packet[33], 0x12) << "SYN and ACK";
  EXPECT_EQ(folded(sum(bytes.subspan(12)) + tcp_number + 20), 0xffffU);
}

TEST(WakingSegment, SpeaksIpv6) {
  const FlowTuple tuple{address("2001:db8:1::7"), address("2001:db8::80"), 40000, 443, tcp_number};
  const auto packet = waking_segment(tuple, 7);
  ASSERT_EQ(packet.size(), 60U);
  const std::span<const std::uint8_t> bytes(packet);
  EXPECT_EQ(packet[0], 0x60);
  EXPECT_EQ(packet[5], 20);
  EXPECT_EQ(packet[6], tcp_number);
  EXPECT_THAT(bytes.subspan(8, 16), ElementsAreArray(tuple.destination.bytes()));
  EXPECT_THAT(bytes.subspan(24, 16), ElementsAreArray(tuple.source.bytes()));
  EXPECT_EQ(folded(sum(bytes.subspan(8)) + tcp_number + 20), 0xffffU);
}

}  // namespace
}  // namespace oceanid::routing
