#include "proxy/core/lobby.hpp"

#include <array>
#include <cstddef>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

const IpAddress crowd = IpAddress::parse("192.0.2.1").value();
const IpAddress loner = IpAddress::parse("192.0.2.2").value();

TEST(Lobby, TheOldestOfTheLargestCrowdMakesRoom) {
  Lobby lobby({.connections = 4, .bytes = 1 << 20});
  int told = 0;
  auto first = lobby.enter(crowd, [&] { told = 1; });
  auto second = lobby.enter(crowd, [&] { told = 2; });
  auto third = lobby.enter(crowd, [&] { told = 3; });
  auto alone = lobby.enter(loner, [&] { told = 4; });
  EXPECT_EQ(told, 0);
  auto newcomer = lobby.enter(IpAddress::parse("192.0.2.3").value(), [&] { told = 5; });
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(first.evicted());
  EXPECT_FALSE(second.evicted());
  EXPECT_FALSE(newcomer.evicted());
  EXPECT_EQ(lobby.connections(), 4U);
  EXPECT_EQ(lobby.evictions(), 1U);
}

TEST(Lobby, ACrowdPushesOutItself) {
  Lobby lobby({.connections = 2, .bytes = 1 << 20});
  auto alone = lobby.enter(loner, nullptr);
  auto one = lobby.enter(crowd, nullptr);
  auto two = lobby.enter(crowd, nullptr);
  EXPECT_TRUE(one.evicted());
  EXPECT_FALSE(alone.evicted());
}

TEST(Lobby, BytesCountToo) {
  Lobby lobby({.connections = 100, .bytes = 10'000});
  auto small = lobby.enter(loner, nullptr);
  auto large = lobby.enter(crowd, nullptr);
  small.grow(100);
  large.grow(9'900);
  EXPECT_FALSE(large.evicted());
  small.grow(1);
  EXPECT_TRUE(large.evicted());
  EXPECT_FALSE(small.evicted());
  EXPECT_EQ(lobby.bytes(), 101U);
  large.grow(50'000);  // its last read may still come
  EXPECT_EQ(lobby.bytes(), 101U);
}

TEST(Lobby, ASeatThatIsGivenBackIsFree) {
  Lobby lobby({.connections = 1, .bytes = 1 << 20});
  {
    auto seat = lobby.enter(crowd, nullptr);
    seat.grow(5);
    auto moved = std::move(seat);
    EXPECT_EQ(lobby.connections(), 1U);
    moved.leave();
    EXPECT_EQ(lobby.connections(), 0U);
    EXPECT_FALSE(moved.evicted());
  }
  EXPECT_EQ(lobby.bytes(), 0U);
  auto next = lobby.enter(loner, nullptr);
  EXPECT_FALSE(next.evicted());
  EXPECT_EQ(lobby.evictions(), 0U);
}

TEST(Lobby, HoldsItsBoundsUnderAnyOrder) {
  std::mt19937 random(7);
  Lobby lobby({.connections = 50, .bytes = 100'000});
  std::vector<Lobby::Seat> seats;
  for (int i = 0; i < 20'000; ++i) {
    const auto n = random();
    if (n % 3 == 0 && !seats.empty()) {
      seats.erase(seats.begin() + static_cast<std::ptrdiff_t>(n / 3 % seats.size()));
    } else if (n % 3 == 1 && !seats.empty()) {
      seats[n / 3 % seats.size()].grow(n % 4000);
    } else {
      const std::array<std::uint8_t, 4> bytes{192, 0, 2, static_cast<std::uint8_t>(n % 7)};
      seats.push_back(lobby.enter(IpAddress::v4(bytes), nullptr));
    }
    ASSERT_LE(lobby.connections(), 50U);
    ASSERT_LE(lobby.bytes(), 100'000U);
  }
  EXPECT_GT(lobby.evictions(), 0U);
  seats.clear();
  EXPECT_EQ(lobby.connections(), 0U);
  EXPECT_EQ(lobby.bytes(), 0U);
}

}  // namespace
}  // namespace oceanid::proxy
