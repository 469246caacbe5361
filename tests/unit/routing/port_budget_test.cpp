// An exit's ports: who spills where and when it comes back, and who is told.

#include "routing/core/port_budget.hpp"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

const IpAddress first = address("203.0.113.10");
const IpAddress second = address("203.0.113.11");
const IpAddress third = address("203.0.113.12");
const Destination database{address("192.0.2.10"), 5432, 6};
constexpr std::uint32_t eighty = 64512 * 80 / 100;

void open(PortBudget& budget, const PortUse& use, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i)
    EXPECT_TRUE(budget.opened(use));
}

void close(PortBudget& budget, const PortUse& use, std::uint32_t count) {
  for (std::uint32_t i = 0; i < count; ++i)
    budget.closed(use);
}

PortBudget filled(std::uint32_t count, const SnatPorts& ports = {}) {
  PortBudget out(ports);
  open(out, {first, database}, count);
  return out;
}

TEST(PortBudget, CountsEveryDestinationByItself) {
  PortBudget budget = filled(3);
  open(budget, {first, {database.address, 5432, 17}}, 1);
  open(budget, {second, database}, 1);
  EXPECT_EQ(budget.used({first, database}), 3U);
  close(budget, {first, database}, 3);
  EXPECT_EQ(budget.used({first, database}), 0U);
  budget.closed({first, database});
  EXPECT_EQ(budget.used({first, database}), 0U) << "one end too many";
}

TEST(PortBudget, IsBounded) {
  PortBudget budget;
  for (std::uint32_t i = 0; i < PortBudget::most_uses; ++i)
    ASSERT_TRUE(budget.opened({first, {database.address, static_cast<std::uint16_t>(i), 6}}));
  EXPECT_FALSE(budget.opened({second, database}));
  EXPECT_TRUE(budget.opened({first, database})) << "known already";
  close(budget, {first, {database.address, 1, 6}}, 1);
  EXPECT_TRUE(budget.opened({second, database}));
}

TEST(PortBudget, WarnsAtEightyPercentOnceWithTheRemedy) {
  PortBudget budget = filled(eighty - 1);
  EXPECT_TRUE(budget.tick(1s, {first}).notices.empty());
  EXPECT_FALSE(budget.pressing());
  open(budget, {first, database}, 1);
  EXPECT_TRUE(budget.pressing());
  const auto advice = budget.tick(2s, {first});
  EXPECT_FALSE(budget.pressing());
  ASSERT_EQ(advice.notices.size(), 1U);
  EXPECT_TRUE(advice.notices[0].warning);
  EXPECT_EQ(advice.notices[0].text,
            "203.0.113.10 has taken 80 % of its 64512 ports towards 192.0.2.10:5432/tcp; from "
            "90 % on new connections fail: give serve_exit.snat a further address, or put a "
            "connection pooler in front of it");
  EXPECT_TRUE(advice.spills.empty());
  EXPECT_TRUE(budget.tick(3s, {first}).notices.empty());
}

TEST(PortBudget, SaysWhenItIsOverAndWarnsAgainOnlyAfterThat) {
  PortBudget budget = filled(eighty);
  EXPECT_EQ(budget.tick(1s, {first}).notices.size(), 1U);
  close(budget, {first, database}, 1);
  EXPECT_TRUE(budget.tick(2s, {first}).notices.empty());
  open(budget, {first, database}, 1);
  EXPECT_TRUE(budget.tick(3s, {first}).notices.empty());
  close(budget, {first, database}, 10'000);
  const auto calm = budget.tick(4s, {first});
  ASSERT_EQ(calm.notices.size(), 1U);
  EXPECT_FALSE(calm.notices[0].warning);
  EXPECT_EQ(calm.notices[0].text,
            "203.0.113.10 has ports again towards 192.0.2.10:5432/tcp: 41609 of 64512 are taken");
  EXPECT_TRUE(budget.tick(5s, {first}).notices.empty());
  open(budget, {first, database}, 10'000);
  EXPECT_EQ(budget.tick(6s, {first}).notices.size(), 1U);
}

TEST(PortBudget, SpillsToTheNextAddressOfTheFamilyAndComesBack) {
  PortBudget budget = filled(eighty);
  const std::vector addresses{address("2001:db8::10"), first, address("2001:db8::11"), second};
  const auto advice = budget.tick(1s, addresses);
  EXPECT_EQ(advice.spills, (std::vector{Spill{database, 0, 1}}));
  ASSERT_EQ(advice.notices.size(), 1U);
  EXPECT_TRUE(advice.notices[0].text.ends_with(": new connections there take 203.0.113.11"))
      << advice.notices[0].text;
  close(budget, {first, database}, 1);
  EXPECT_TRUE(budget.tick(2s, addresses).spills.empty()) << "not calm yet";
  close(budget, {first, database}, 10'000);
  EXPECT_EQ(budget.tick(3s, addresses).spills, (std::vector{Spill{database, 1, 0}}));
  EXPECT_TRUE(budget.tick(4s, addresses).spills.empty());
}

TEST(PortBudget, TheSetIsToldAgainInTimeAndWhenItIsNew) {
  PortBudget budget = filled(eighty);
  const std::vector addresses{first, second};
  EXPECT_EQ(budget.tick(1s, addresses).spills.size(), 1U);
  EXPECT_TRUE(budget.tick(PortBudget::renew_after, addresses).spills.empty());
  EXPECT_EQ(budget.tick(1s + PortBudget::renew_after, addresses).spills,
            (std::vector{Spill{database, 1, 1}}));
  EXPECT_TRUE(budget.tick(2s + PortBudget::renew_after, addresses).spills.empty());
  budget.forget_spills();
  EXPECT_EQ(budget.tick(3s + PortBudget::renew_after, addresses).spills,
            (std::vector{Spill{database, 0, 1}}));
}

TEST(PortBudget, TheThirdTakesOverFromTheSecondAndTheFirstIsAskedFirst) {
  PortBudget budget = filled(80, {20000, 20099});
  const std::vector addresses{first, second, third};
  EXPECT_EQ(budget.tick(1s, addresses).spills, (std::vector{Spill{database, 0, 1}}));
  open(budget, {second, database}, 80);
  const auto advice = budget.tick(2s, addresses);
  EXPECT_EQ(advice.spills, (std::vector{Spill{database, 1, 2}}));
  ASSERT_EQ(advice.notices.size(), 1U);
  EXPECT_EQ(advice.notices[0].text,
            "203.0.113.11 has taken 80 % of its 100 ports towards 192.0.2.10:5432/tcp: new "
            "connections there take 203.0.113.12");
  close(budget, {first, database}, 11);
  EXPECT_EQ(budget.tick(3s, addresses).spills, (std::vector{Spill{database, 2, 0}}));
  open(budget, {first, database}, 11);
  EXPECT_EQ(budget.tick(4s, addresses).spills, (std::vector{Spill{database, 0, 2}}))
      << "the second one is as full as it was";
}

TEST(PortBudget, WhereAllAreFullTheEmptiestByFarIsTaken) {
  PortBudget budget = filled(95, {20000, 20099});
  open(budget, {second, database}, 85);
  const std::vector addresses{first, second};
  const auto advice = budget.tick(1s, addresses);
  EXPECT_EQ(advice.spills, (std::vector{Spill{database, 0, 1}}));
  EXPECT_EQ(advice.notices.size(), 2U);
  EXPECT_TRUE(std::ranges::any_of(advice.notices, [](const auto& one) {
    return one.text.contains("203.0.113.11 has taken 85 %") &&
           one.text.contains("a further address");
  }));
  open(budget, {second, database}, 12);
  EXPECT_TRUE(budget.tick(2s, addresses).spills.empty()) << "97 is not worth going back to 95";
  open(budget, {second, database}, 3);
  EXPECT_EQ(budget.tick(3s, addresses).spills, (std::vector{Spill{database, 1, 0}}));
}

TEST(PortBudget, WhoHasNoListOfAddressesHasNowhereToSpillTo) {
  PortBudget budget = filled(eighty + 1);
  EXPECT_TRUE(budget.tick(1s, {}).spills.empty());
  EXPECT_TRUE(budget.tick(2s, {first}).spills.empty());
  EXPECT_TRUE(budget.tick(3s, {first, address("2001:db8::10")}).spills.empty());
}

TEST(PortBudget, FewerAddressesAfterAReloadAreKnown) {
  PortBudget budget = filled(80, {20000, 20099});
  open(budget, {second, database}, 80);
  EXPECT_EQ(budget.tick(1s, {first, second, third}).spills, (std::vector{Spill{database, 0, 2}}));
  budget.forget_spills();  // the tables were replaced
  EXPECT_EQ(budget.tick(2s, {first, second}).spills.size(), 0U) << "both are as full";
}

TEST(PortBudget, AnotherRangeOfPortsIsAnotherBudget) {
  PortBudget budget = filled(600);
  EXPECT_TRUE(budget.tick(1s, {first}).notices.empty());
  budget.set_ports({20000, 20699});
  EXPECT_TRUE(budget.pressing());
  EXPECT_EQ(budget.tick(2s, {first}).notices.size(), 1U);
  EXPECT_NEAR(budget.fullest(1).at(0).ratio, 600.0 / 700, 1e-9);
}

TEST(PortBudget, TheFullestComeFirstAndNotAllOfThem) {
  PortBudget budget = filled(600);
  for (std::uint16_t port = 1; port <= 20; ++port)
    open(budget, {first, {address("192.0.2.11"), port, 17}}, 504);
  open(budget, {first, {address("192.0.2.12"), 1, 17}}, 503);
  EXPECT_EQ(budget.fullest(100).size(), 21U);
  const auto lines = budget.fullest(5);
  ASSERT_EQ(lines.size(), 5U);
  EXPECT_EQ(lines[0].use, (PortUse{first, database}));
  EXPECT_NEAR(lines[0].ratio, 600.0 / 64512, 1e-9);
}

TEST(PortBudget, ADestinationIsWrittenAsItIsDialled) {
  EXPECT_EQ(database.to_string(), "192.0.2.10:5432/tcp");
  EXPECT_EQ((Destination{address("2001:db8::1"), 53, 17}).to_string(), "[2001:db8::1]:53/udp");
  EXPECT_EQ((Destination{address("192.0.2.1"), 0, 1}).to_string(), "192.0.2.1:0/1");
}

}  // namespace
}  // namespace oceanid::routing
