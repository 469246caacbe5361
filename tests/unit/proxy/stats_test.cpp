#include "proxy/core/stats.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

TEST(Histogram, ABoundBelongsToItsOwnBucket) {
  for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
    Histogram h;
    h.observe(Histogram::bounds[i]);
    h.observe(Histogram::bounds[i] * 1.0001);
    EXPECT_EQ(h.counts()[i], 1U) << Histogram::bounds[i];
    EXPECT_EQ(h.counts()[i + 1], 1U) << Histogram::bounds[i];
    EXPECT_EQ(h.count(), 2U);
  }
  EXPECT_TRUE(std::ranges::is_sorted(Histogram::bounds));
}

TEST(Histogram, KeepsTheSumAndTheExtremes) {
  Histogram h;
  h.observe(0.0);
  h.observe(1e9);
  EXPECT_EQ(h.counts().front(), 1U);
  EXPECT_EQ(h.counts().back(), 1U);
  EXPECT_DOUBLE_EQ(h.sum(), 1e9);
}

TEST(Stats, SnapshotsOfWorkersAddUp) {
  StatsSnapshot a;
  a.requests[{"ok", "default"}] = 3;
  a.tunnels_open = 2;
  a.bytes_up = 10;
  a.guard_denied["private-10"] = 1;
  a.forward_open["warehouse"] = 1;
  a.dns_seconds.observe(0.003);
  StatsSnapshot b;
  b.requests[{"ok", "default"}] = 4;
  b.requests[{"dns_error", "default"}] = 1;
  b.tunnels_open = 5;
  b.bytes_up = 1;
  b.bytes_down = 7;
  b.guard_denied["loopback"] = 2;
  b.shed["tunnel_limit"] = 1;
  b.forward_open["warehouse"] = 2;
  b.dns_seconds.observe(0.003);
  b.connect_seconds.observe(0.2);
  b.first_byte_seconds.observe(40);

  a += b;
  EXPECT_EQ((a.requests[{"ok", "default"}]), 7U);
  EXPECT_EQ((a.requests[{"dns_error", "default"}]), 1U);
  EXPECT_EQ(a.tunnels_open, 7U);
  EXPECT_EQ(a.bytes_up, 11U);
  EXPECT_EQ(a.bytes_down, 7U);
  EXPECT_EQ(a.guard_denied["private-10"], 1U);
  EXPECT_EQ(a.guard_denied["loopback"], 2U);
  EXPECT_EQ(a.shed["tunnel_limit"], 1U);
  EXPECT_EQ(a.forward_open["warehouse"], 3U);
  EXPECT_EQ(a.dns_seconds.count(), 2U);
  EXPECT_EQ(a.connect_seconds.count(), 1U);
  EXPECT_EQ(a.first_byte_seconds.counts().back(), 1U);
  EXPECT_DOUBLE_EQ(a.dns_seconds.sum(), 0.006);
}

}  // namespace
}  // namespace oceanid::proxy
