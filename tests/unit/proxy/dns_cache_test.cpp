#include "proxy/core/dns_cache.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

const Addresses one = {IpAddress::parse("192.0.2.1").value()};
const Addresses two = {IpAddress::parse("192.0.2.2").value()};
const ResolveFailure unknown{Reason::dns_error, "the name does not exist"};
const ResolveFailure away{Reason::dns_timeout, "no name server answered in time"};

class DnsCacheTest : public testing::Test {
 protected:
  std::optional<DnsCache::Hit> find(const std::string& name = "a") { return cache.find(name, now); }
  std::optional<DnsCache::Stale> stale() { return cache.find_stale("a", now); }

  DnsCache cache{3};
  DnsCache::TimePoint now{1h};
};

TEST(DnsTimes, AreBounded) {
  EXPECT_EQ(kept_for(0s), 1s);
  EXPECT_EQ(kept_for(300s), 300s);
  EXPECT_EQ(kept_for(24h), 1h);
  EXPECT_EQ(none_kept_for(std::nullopt), 5s);
  EXPECT_EQ(none_kept_for(0s), 1s);
  EXPECT_EQ(none_kept_for(2s), 2s);
  EXPECT_EQ(none_kept_for(3h), 60s);
}

TEST_F(DnsCacheTest, AnAnswerHoldsForItsTtl) {
  cache.store("a", one, 10s, now);
  now += 10s - 1ns;
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->result, ResolveResult(one));
  now += 1ns;
  EXPECT_FALSE(find());
  EXPECT_EQ(cache.size(), 1U) << "kept, in case the servers are away";
}

TEST_F(DnsCacheTest, AFailureIsForgottenWhenItsTimeHasPassed) {
  cache.store("a", std::unexpected(unknown), 2s, now);
  now += 1999ms;
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->result, ResolveResult(std::unexpected(unknown)));
  now += 1ms;
  EXPECT_FALSE(find());
  EXPECT_FALSE(stale());
  EXPECT_EQ(cache.size(), 0U);
}

TEST_F(DnsCacheTest, TheNameAskedLongestAgoGivesWay) {
  for (const char* name : {"a", "b", "c"})
    cache.store(name, one, 60s, now);
  EXPECT_TRUE(find("a"));
  cache.store("d", one, 60s, now);
  EXPECT_TRUE(find("a"));
  EXPECT_FALSE(find("b"));
  EXPECT_EQ(cache.size(), 3U);
  DnsCache none(0);
  none.store("a", one, 60s, now);
  EXPECT_FALSE(none.find("a", now));
}

TEST_F(DnsCacheTest, AnExpiredAnswerBridgesAnHour) {
  cache.store("a", one, 10s, now);
  EXPECT_FALSE(stale()) << "not expired yet";
  now += 10s + 7s;
  ASSERT_TRUE(stale());
  EXPECT_EQ(stale()->addresses, one);
  EXPECT_EQ(stale()->age, 7s);
  EXPECT_FALSE(stale()->at_once) << "nothing says that the servers are away";
  EXPECT_TRUE(stale()->ask);
  now += 1h - 7s - 1ns;
  EXPECT_FALSE(find());
  EXPECT_TRUE(stale());
  now += 1ns;
  EXPECT_FALSE(stale());
  EXPECT_FALSE(find());
  EXPECT_EQ(cache.size(), 0U);
}

TEST_F(DnsCacheTest, AfterAFailureTheServersAreLeftAloneForAWhile) {
  cache.store("a", one, 10s, now);
  now += 11s;
  cache.failed("a", away, now);
  ASSERT_TRUE(stale());
  EXPECT_TRUE(stale()->at_once);
  EXPECT_FALSE(stale()->ask);
  now += 10s;
  EXPECT_TRUE(stale()->at_once) << "and asked in the background";
  EXPECT_TRUE(stale()->ask);
  cache.failed("a", away, now);
  EXPECT_FALSE(stale()->ask);
  now += 20s;
  EXPECT_FALSE(stale()->at_once) << "after a silence nothing is known";
  EXPECT_TRUE(stale()->ask);
  cache.store("a", two, 10s, now);
  EXPECT_EQ(find()->result, ResolveResult(two));
  now += 10s;
  EXPECT_FALSE(stale()->at_once);
}

TEST_F(DnsCacheTest, ThatANameIsGoneReplacesItsAddresses) {
  cache.store("a", one, 10s, now);
  now += 11s;
  cache.store("a", std::unexpected(unknown), 2s, now);
  EXPECT_FALSE(stale());
  EXPECT_EQ(find()->result, ResolveResult(std::unexpected(unknown)));
}

TEST_F(DnsCacheTest, AFailureOfTheServersIsRememberedForASecond) {
  cache.failed("a", away, now);
  now += 1s - 1ns;
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->result, ResolveResult(std::unexpected(away)));
  now += 1ns;
  EXPECT_FALSE(find());
}

TEST_F(DnsCacheTest, AFailedRefreshLeavesWhatStillHolds) {
  cache.store("a", one, 10s, now);
  now += 9500ms;
  cache.failed("a", away, now);
  ASSERT_TRUE(find());
  EXPECT_EQ(find()->result, ResolveResult(one));
  now += 1s;
  ASSERT_TRUE(stale());
  EXPECT_TRUE(stale()->at_once);
}

TEST_F(DnsCacheTest, AHotNameIsRefreshedOnceWhenATenthIsLeft) {
  cache.store("a", one, 100s, now);
  for (int i = 0; i < 5; ++i)
    EXPECT_FALSE(find()->refresh);
  now += 90s - 1ns;
  EXPECT_FALSE(find()->refresh);
  now += 1ns;
  EXPECT_TRUE(find()->refresh);
  EXPECT_FALSE(find()->refresh) << "it is under way";
  cache.store("a", two, 100s, now);
  now += 95s;
  EXPECT_FALSE(find()->refresh) << "asked once since: not hot";
  EXPECT_FALSE(find()->refresh);
  EXPECT_TRUE(find()->refresh);
}

TEST_F(DnsCacheTest, ThatANameIsUnknownIsNotRefreshed) {
  cache.store("a", std::unexpected(unknown), 100s, now);
  now += 95s;
  for (int i = 0; i < 5; ++i)
    EXPECT_FALSE(find()->refresh);
}

}  // namespace
}  // namespace oceanid::proxy
