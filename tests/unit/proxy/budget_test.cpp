#include "proxy/core/budget.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

TEST(Budget, TheOperatorsLimitCountsWhereFilesAllowIt) {
  const Budget budget = budget_for(1 << 20, 2, Limits{});
  EXPECT_EQ(budget.tunnels, Limits{}.tunnels);
  EXPECT_EQ(budget.lobby.connections, 16384U);
  EXPECT_EQ(budget.lobby.bytes, std::size_t{32} << 20);
}

TEST(Budget, NoLimitMeansWhatTheFilesAllow) {
  Limits limits;
  limits.tunnels = 0;
  const Budget budget = budget_for(100'000, 4, limits);
  EXPECT_GT(budget.tunnels, 30'000U);
  EXPECT_LT(budget.tunnels, 50'000U);
}

TEST(Budget, EverythingTogetherStaysBelowTheLimitOfFiles) {
  for (const std::uint64_t files : {2048U, 4096U, 65536U, 1048576U})
    for (const std::uint32_t loops : {1U, 2U, 4U}) {
      Limits limits;
      limits.tunnels = 0;
      const Budget budget = budget_for(files, loops, limits);
      const auto used = std::uint64_t{2} * budget.tunnels + loops * budget.lobby.connections +
                        loops * budget.idle_origins + std::uint64_t{loops} * 2 * 96;
      EXPECT_LT(used, files) << files << " files, " << loops << " loops";
      EXPECT_GT(budget.tunnels, files / 8);
      EXPECT_GT(budget.idle_origins, 0U);
      EXPECT_LE(budget.idle_origins, 256U);
    }
}

TEST(Budget, AProcessWithHardlyAnyFilesStillServesOne) {
  const Budget budget = budget_for(64, 8, Limits{});
  EXPECT_EQ(budget.tunnels, 1U);
  EXPECT_GT(budget.lobby.connections, 0U);
}

}  // namespace
}  // namespace oceanid::proxy
