#include "proxy/core/breaker.hpp"

#include "proxy/core/backoff.hpp"
#include "proxy/core/bad_addresses.hpp"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

using namespace std::chrono_literals;
using Time = Breakers::Time;

SocketAddress at(const std::string& text) {
  return SocketAddress::parse(text).value();
}

TEST(Breaker, OpensAfterFailuresInARowOnly) {
  Breakers breakers;
  const Time now{};
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(breakers.failed("a:1", {}, now));
  breakers.succeeded("a:1");
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(breakers.failed("a:1", {}, now));
  EXPECT_TRUE(breakers.ask("a:1", now).allowed);
  EXPECT_TRUE(breakers.failed("a:1", {}, now));
  EXPECT_FALSE(breakers.ask("a:1", now).allowed);
  EXPECT_TRUE(breakers.ask("a:2", now).allowed);
  EXPECT_EQ(breakers.open(), 1U);
}

TEST(Breaker, TellsTheTimeThatIsLeft) {
  Breakers breakers;
  const Time now{};
  EXPECT_TRUE(breakers.failed("a:1", {.failures = 1, .open = 3s, .open_max = 60s}, now));
  EXPECT_EQ(breakers.ask("a:1", now).retry_after, 3s);
  EXPECT_EQ(breakers.ask("a:1", now + 2500ms).retry_after, 500ms);
}

TEST(Breaker, OneProbeDecides) {
  Breakers breakers;
  const BreakerSettings settings{.failures = 1, .open = 1s, .open_max = 3s};
  Time now{};
  breakers.failed("a:1", settings, now);
  now += 1s;
  EXPECT_TRUE(breakers.ask("a:1", now).probe);
  EXPECT_FALSE(breakers.ask("a:1", now).allowed);
  EXPECT_TRUE(breakers.failed("a:1", settings, now));  // twice as long now
  EXPECT_FALSE(breakers.ask("a:1", now + 1999ms).allowed);
  now += 2s;
  EXPECT_TRUE(breakers.ask("a:1", now).probe);
  breakers.abandoned("a:1");
  EXPECT_TRUE(breakers.ask("a:1", now).probe);  // the next one's turn
  breakers.failed("a:1", settings, now);
  EXPECT_EQ(breakers.ask("a:1", now).retry_after, 3s);  // not 4 s: open_max
  now += 3s;
  EXPECT_TRUE(breakers.ask("a:1", now).probe);
  breakers.succeeded("a:1");
  EXPECT_EQ(breakers.open(), 0U);
  EXPECT_EQ(breakers.known(), 0U);
}

TEST(Breaker, RequestsThatWereOnTheirWayDoNotProlongIt) {
  Breakers breakers;
  const BreakerSettings settings{.failures = 1, .open = 1s, .open_max = 60s};
  const Time now{};
  EXPECT_TRUE(breakers.failed("a:1", settings, now));
  EXPECT_FALSE(breakers.failed("a:1", settings, now + 900ms));
  EXPECT_TRUE(breakers.ask("a:1", now + 1s).probe);
}

TEST(Breaker, AProbeThatFailsOpensItAgainWhenTheThresholdHasBeenRaised) {
  Breakers breakers;
  const Time now{};
  breakers.failed("a:1", {.failures = 1, .open = 1s, .open_max = 60s}, now);
  EXPECT_TRUE(breakers.ask("a:1", now + 1s).probe);
  EXPECT_TRUE(breakers.failed("a:1", {.failures = 9, .open = 1s, .open_max = 60s}, now + 1s));
  EXPECT_EQ(breakers.ask("a:1", now + 1s).retry_after, 2s);
}

// Whatever happens: never more entries than allowed, the count of open circuits is right, and a
// circuit lets a request through again after open_max at the latest.
TEST(Breaker, StaysBoundedAndRecoversUnderRandomUse) {
  constexpr std::size_t capacity = 16;
  Breakers breakers(capacity);
  const BreakerSettings settings{.failures = 3, .open = 100ms, .open_max = 1s};
  std::mt19937 random(7);
  Time now{};
  for (int i = 0; i < 50'000; ++i) {
    const std::string name = std::to_string(random() % 40);
    now += std::chrono::milliseconds(random() % 30);
    const auto answer = breakers.ask(name, now);
    if (!answer.allowed) {
      EXPECT_GT(answer.retry_after, 0ms);
      EXPECT_LE(answer.retry_after, 1s);
      continue;
    }
    const auto kind = random() % 10;
    if (kind < 7)
      breakers.failed(name, settings, now);
    else if (kind < 9)
      breakers.succeeded(name);
    else
      breakers.abandoned(name);
    ASSERT_LE(breakers.known(), capacity);
    ASSERT_LE(breakers.open(), breakers.known());
  }
  EXPECT_GT(breakers.open(), 0U);
  now += 1s;
  for (int name = 0; name < 40; ++name)
    EXPECT_TRUE(breakers.ask(std::to_string(name), now).allowed);
  for (int name = 0; name < 40; ++name)
    breakers.succeeded(std::to_string(name));
  EXPECT_EQ(breakers.open(), 0U);
}

TEST(BadAddresses, GoLastAndAreForgiven) {
  BadAddresses memory;
  const Time now{};
  std::vector<SocketAddress> order = {at("[2001:db8::1]:1"), at("192.0.2.1:1"), at("192.0.2.2:1")};
  memory.failed(order[0], now);
  auto sorted = order;
  memory.bad_ones_last(sorted, now);
  EXPECT_EQ(sorted, (std::vector{order[1], order[2], order[0]}));
  sorted = order;
  memory.bad_ones_last(sorted, now + BadAddresses::first_penalty);
  EXPECT_EQ(sorted, order);
  EXPECT_FALSE(memory.is_bad(at("[2001:db8::1]:2"), now));  // another port is another matter
}

TEST(BadAddresses, PenaltiesDoubleUpToALimitAndSuccessEndsThem) {
  BadAddresses memory;
  Time now{};
  const auto address = at("192.0.2.1:443");
  memory.failed(address, now);
  memory.failed(address, now);
  EXPECT_TRUE(memory.is_bad(address, now + 19s));
  EXPECT_FALSE(memory.is_bad(address, now + 20s));
  for (int i = 0; i < 100; ++i)
    memory.failed(address, now);
  EXPECT_TRUE(memory.is_bad(address, now + 299s));
  EXPECT_FALSE(memory.is_bad(address, now + 300s));
  memory.succeeded(address);
  EXPECT_FALSE(memory.is_bad(address, now));
}

TEST(BadAddresses, AreBounded) {
  BadAddresses memory(8);
  for (std::uint16_t port = 1; port < 1000; ++port)
    memory.failed({IpAddress::parse("192.0.2.1").value(), port}, Time{});
  EXPECT_EQ(memory.size(), 8U);
}

TEST(Backoff, StaysBetweenBaseAndCap) {
  std::mt19937_64 random(3);
  Backoff backoff(50ms, 1s);
  auto before = 50ms;
  bool grew = false;
  for (int i = 0; i < 10'000; ++i) {
    const auto wait = backoff.next(random());
    ASSERT_GE(wait, 50ms);
    ASSERT_LE(wait, std::min<Backoff::Duration>(1s, before * 3));
    grew |= wait > 500ms;
    before = wait;
  }
  EXPECT_TRUE(grew);
}

}  // namespace
}  // namespace oceanid::proxy::test
