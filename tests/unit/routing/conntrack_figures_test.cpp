// The kernel's table of connections: what its statistics say, and when somebody is told.

#include "routing/core/conntrack_figures.hpp"

#include "routing/edge/conntrack_figures.hpp"

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

constexpr const char* two_processors =
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop "
    "early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
    "0000002a  00000000 00000000 00000000 00000000 00000000 00000000 00000003 00000000 0000000f "
    "00000002 00000000 00000000  00000000 00000000 00000000 00000000\n"
    "0000002a  00000000 00000000 00000000 00000000 00000000 00000000 00000002 00000000 00000001 "
    "00000010 00000000 00000000  00000000 00000000 00000000 00000000\n";

TEST(ConntrackStat, IsSummedOverProcessors) {
  const auto figures = parse_conntrack_stat(two_processors);
  ASSERT_TRUE(figures);
  EXPECT_EQ(figures->insert_failed, 16U);
  EXPECT_EQ(figures->dropped, 18U);
}

TEST(ConntrackStat, UnknownTextIsNone) {
  for (const char* text : {"", "\n", "entries found\n0 0\n", "insert_failed drop\n1\n",
                           "insert_failed drop\n1 x\n", "insert_failed drop\n1 2 3\n"})
    EXPECT_FALSE(parse_conntrack_stat(text)) << text;
}

TEST(ConntrackStat, IsReadFromThisKernel) {
  const auto figures = read_conntrack_figures();
  if (!figures) GTEST_SKIP() << "this kernel tracks no connections: modprobe nf_conntrack";
  EXPECT_GT(figures->limit, 0U);
}

TEST(ConntrackWatch, TellsOnceThatTheTableIsNearlyFull) {
  ConntrackWatch watch;
  EXPECT_FALSE(watch.tick({799, 1000, 0, 0}, 1));
  const auto said = watch.tick({800, 1000, 0, 0}, 2);
  ASSERT_TRUE(said);
  EXPECT_NE(said->find("80 % full (800 of 1000)"), std::string::npos) << *said;
  EXPECT_NE(said->find("net.netfilter.nf_conntrack_max=2000"), std::string::npos) << *said;
  EXPECT_FALSE(watch.tick({950, 1000, 0, 0}, 3));
  EXPECT_FALSE(watch.tick({750, 1000, 0, 0}, 4));
  EXPECT_FALSE(watch.tick({900, 1000, 0, 0}, 5)) << "not calm in between";
  EXPECT_FALSE(watch.tick({699, 1000, 0, 0}, 6));
  EXPECT_TRUE(watch.tick({800, 1000, 0, 0}, 7));
}

TEST(ConntrackWatch, TellsOfRefusalsOnceAMinuteAndCountsThemAll) {
  ConntrackWatch watch;
  EXPECT_FALSE(watch.tick({1, 1000, 7, 5}, 10)) << "from before our time";
  auto said = watch.tick({1, 1000, 9, 6}, 11);
  ASSERT_TRUE(said);
  EXPECT_TRUE(said->starts_with("3 new connections were dropped")) << *said;
  EXPECT_FALSE(watch.tick({1, 1000, 20, 6}, 12));
  EXPECT_FALSE(watch.tick({1, 1000, 21, 6}, 70));
  said = watch.tick({1, 1000, 21, 6}, 71);
  ASSERT_TRUE(said);
  EXPECT_TRUE(said->starts_with("12 new connections were dropped")) << *said;
  EXPECT_FALSE(watch.tick({1, 1000, 21, 6}, 200));
}

}  // namespace
}  // namespace oceanid::routing
