#include "proxy/core/inventory.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

TEST(Inventory, SuggestsTheFewestEntriesThatCoverWhatWasReached) {
  Inventory inventory;
  for (int i = 0; i < 3; ++i)
    inventory.reached("ls", {"api.example.com", 443}, "");
  inventory.reached("ls", {"api.example.com", 8443}, "");
  inventory.reached("ls", {"a.amazonaws.com", 443}, "*.amazonaws.com");
  inventory.reached("ls", {"b.amazonaws.com", 443}, "*.amazonaws.com");
  inventory.reached("ls", {"2001:db8::1", 5432}, "");
  inventory.reached("other", {"elsewhere.test", 443}, "");
  const RoleInventory seen = inventory.of("ls");
  EXPECT_EQ(seen.destinations.front().host, "api.example.com");
  EXPECT_EQ(seen.destinations.front().count, 3U);
  EXPECT_EQ(suggest_allow(seen), (std::vector<std::string>{"*.amazonaws.com", "[2001:db8::1]:5432",
                                                           "api.example.com:443,8443"}));
  EXPECT_TRUE(suggest_allow(inventory.of("nobody")).empty());
}

TEST(Inventory, AFloodOfNewNamesLeavesWhatIsUsedAndStaysSmall) {
  Inventory inventory;
  for (int i = 0; i < 50; ++i)
    inventory.reached("ls", {"used.example.com", 443}, "");
  constexpr std::size_t flood = 20'000;
  for (std::size_t i = 0; i < flood; ++i)
    inventory.reached("ls", {"n" + std::to_string(i) + ".test", 443}, "");
  const RoleInventory seen = inventory.of("ls");
  EXPECT_LE(seen.destinations.size(), 2 * Inventory::max_destinations);
  EXPECT_EQ(seen.destinations.front().host, "used.example.com");
  std::uint64_t total = seen.other;
  for (const auto& one : seen.destinations)
    total += one.count;
  EXPECT_EQ(total, flood + 50);
}

TEST(Inventory, RolesAreBoundedToo) {
  Inventory inventory;
  for (int i = 0; i < 1000; ++i)
    inventory.reached("role-" + std::to_string(i), {"a.test", 443}, "");
  EXPECT_EQ(inventory.of("role-63").destinations.size(), 1U);
  EXPECT_TRUE(inventory.of("role-64").destinations.empty());
}

TEST(Inventory, LoopsAreAddedUp) {
  Inventory one;
  one.reached("ls", {"a.test", 443}, "");
  Inventory two;
  two.reached("ls", {"a.test", 443}, "");
  two.reached("ls", {"b.test", 443}, "b.test");
  Inventory sum;
  sum.add(one.of("ls"));
  sum.add(two.of("ls"));
  const RoleInventory seen = sum.of("ls");
  ASSERT_EQ(seen.destinations.size(), 2U);
  EXPECT_EQ(seen.destinations[0].count, 2U);
  EXPECT_EQ(seen.destinations[1].rule, "b.test");
}

TEST(Inventory, OnlyAnAllowEntryIsOne) {
  EXPECT_EQ(allow_entry_of("proxy.policy.roles.ls.allow: *.example.com:443"), "*.example.com:443");
  EXPECT_EQ(allow_entry_of("proxy.policy.roles.ls.allow: nothing there fits"), "");
  EXPECT_EQ(allow_entry_of("proxy.policy.roles.ls.deny: a.test"), "");
  EXPECT_EQ(allow_entry_of("proxy.policy.default: report"), "");
}

}  // namespace
}  // namespace oceanid::proxy
