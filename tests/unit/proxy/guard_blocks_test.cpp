// Every special block of the guard with both edges and both neighbours, and the table's rows
// themselves.
#include "proxy/core/guard.hpp"

#include <set>
#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

struct Block {
  std::string_view first;
  std::string_view last;
  std::string_view range;
  std::string_view below;  // the neighbours; empty where the address space ends
  std::string_view below_range;
  std::string_view above;
  std::string_view above_range;
};

void check_blocks(std::span<const Block> blocks) {
  const Guard guard({}, {});
  const auto check = [&](std::string_view address, std::string_view range) {
    if (address.empty()) return;
    const GuardVerdict v = guard.judge(IpAddress::parse(address).value());
    EXPECT_EQ(v.range, range) << address << ": " << v.rule;
    EXPECT_EQ(v.allowed, range == "public") << address << ": " << v.rule;
    EXPECT_FALSE(v.rule.empty()) << address;
  };
  for (const Block& b : blocks) {
    check(b.first, b.range);
    check(b.last, b.range);
    check(b.below, b.below_range);
    check(b.above, b.above_range);
  }
}

TEST(Guard, KnowsEverySpecialIPv4BlockToTheAddress) {
  const Block blocks[] = {
      {"0.0.0.0", "0.255.255.255", "this-network", "", "", "1.0.0.0", "public"},
      {"10.0.0.0", "10.255.255.255", "private-10", "9.255.255.255", "public", "11.0.0.0", "public"},
      {"100.64.0.0", "100.127.255.255", "cgnat", "100.63.255.255", "public", "100.128.0.0",
       "public"},
      {"127.0.0.0", "127.255.255.255", "loopback", "126.255.255.255", "public", "128.0.0.0",
       "public"},
      {"168.63.129.16", "168.63.129.16", "cloud-platform", "168.63.129.15", "public",
       "168.63.129.17", "public"},
      {"169.254.0.0", "169.254.255.255", "link-local", "169.253.255.255", "public", "169.255.0.0",
       "public"},
      {"172.16.0.0", "172.31.255.255", "private-172", "172.15.255.255", "public", "172.32.0.0",
       "public"},
      {"192.0.0.0", "192.0.0.255", "ietf-protocol", "191.255.255.255", "public", "192.0.1.0",
       "public"},
      {"192.0.2.0", "192.0.2.255", "documentation", "192.0.1.255", "public", "192.0.3.0", "public"},
      {"192.88.99.0", "192.88.99.255", "6to4-relay", "192.88.98.255", "public", "192.88.100.0",
       "public"},
      {"192.168.0.0", "192.168.255.255", "private-192", "192.167.255.255", "public", "192.169.0.0",
       "public"},
      {"198.18.0.0", "198.19.255.255", "benchmarking", "198.17.255.255", "public", "198.20.0.0",
       "public"},
      {"198.51.100.0", "198.51.100.255", "documentation", "198.51.99.255", "public", "198.51.101.0",
       "public"},
      {"203.0.113.0", "203.0.113.255", "documentation", "203.0.112.255", "public", "203.0.114.0",
       "public"},
      {"224.0.0.0", "239.255.255.255", "multicast", "223.255.255.255", "public", "240.0.0.0",
       "reserved"},
      {"240.0.0.0", "255.255.255.254", "reserved", "239.255.255.255", "multicast",
       "255.255.255.255", "broadcast"},
      {"255.255.255.255", "255.255.255.255", "broadcast", "255.255.255.254", "reserved", "", ""},
  };
  check_blocks(blocks);
}

TEST(Guard, KnowsEverySpecialIPv6BlockToTheAddress) {
  const Block blocks[] = {
      {"::", "::", "this-network", "", "", "::1", "loopback"},
      {"::1", "::1", "loopback", "::", "this-network", "::2", "ipv4-compatible"},
      {"::2", "::ffff:ffff", "ipv4-compatible", "::1", "loopback", "::1:0:0", "not-global"},
      {"::ffff:0:0:0", "::ffff:0:ffff:ffff", "ipv4-translated", "::fffe:ffff:ffff:ffff",
       "not-global", "::ffff:1:0:0", "not-global"},
      {"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "nat64-local",
       "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "not-global", "64:ff9b:2::", "not-global"},
      {"100::", "100::ffff:ffff:ffff:ffff", "discard", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
       "not-global", "100:0:0:1::", "discard"},
      {"100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "discard", "100::ffff:ffff:ffff:ffff",
       "discard", "100:0:0:2::", "not-global"},
      {"::1:0:0:0:0", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global",
       "::ffff:ffff:ffff:ffff", "not-global", "2000::", "public"},
      {"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "teredo",
       "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public", "2001:1::", "ietf-protocol"},
      {"2001:1::", "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol",
       "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "teredo", "2001:2::", "benchmarking"},
      {"2001:1::1", "2001:1::3", "ietf-protocol", "2001:1::", "ietf-protocol", "2001:1::4",
       "ietf-protocol"},
      {"2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", "benchmarking",
       "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol", "2001:2:1::", "ietf-protocol"},
      {"2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", "public",
       "2001:2:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol", "2001:4::", "ietf-protocol"},
      {"2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", "public",
       "2001:4:111:ffff:ffff:ffff:ffff:ffff", "ietf-protocol", "2001:4:113::", "ietf-protocol"},
      {"2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid",
       "2001:f:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol", "2001:20::", "orchid"},
      {"2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid",
       "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid", "2001:40::", "ietf-protocol"},
      {"2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "ietf-protocol",
       "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", "orchid", "2001:200::", "public"},
      {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation",
       "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "public", "2001:db9::", "public"},
      {"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4",
       "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public", "2003::", "public"},
      {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation",
       "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public", "3fff:1000::", "public"},
      {"4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global",
       "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "public", "5f00::", "srv6"},
      {"5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "srv6",
       "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global", "5f01::", "not-global"},
      {"8000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global",
       "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global", "fc00::", "unique-local"},
      {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique-local",
       "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global", "fe00::", "not-global"},
      {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local",
       "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not-global", "fec0::", "site-local"},
      {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local",
       "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", "ff00::", "multicast"},
      {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast",
       "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", "", ""},
  };
  check_blocks(blocks);
}

TEST(GuardTable, RowsAreCanonicalUniqueAndSourced) {
  std::set<std::string> seen;
  for (const SpecialRange& row : special_ranges()) {
    const auto parsed = Prefix::parse(row.prefix);
    ASSERT_TRUE(parsed.has_value()) << row.prefix << ": " << parsed.error().what;
    EXPECT_TRUE(seen.insert(parsed->to_string()).second) << row.prefix << " stands twice";
    EXPECT_FALSE(row.token.empty() || row.name.empty() || row.reference.empty()) << row.prefix;
  }
}

// The prefixes of the two IANA registries (2025-10), typed apart from the table.
TEST(GuardTable, HoldsEveryRowOfTheRegistries) {
  std::set<std::string> have;
  for (const SpecialRange& row : special_ranges())
    have.insert(Prefix::parse(row.prefix).value().to_string());
  for (const char* text :
       {"0.0.0.0/8",          "10.0.0.0/8",        "100.64.0.0/10",   "127.0.0.0/8",
        "169.254.0.0/16",     "172.16.0.0/12",     "192.0.0.0/24",    "192.0.0.0/29",
        "192.0.0.8/32",       "192.0.0.9/32",      "192.0.0.10/32",   "192.0.0.170/32",
        "192.0.0.171/32",     "192.0.2.0/24",      "192.31.196.0/24", "192.52.193.0/24",
        "192.88.99.0/24",     "192.88.99.2/32",    "192.168.0.0/16",  "192.175.48.0/24",
        "198.18.0.0/15",      "198.51.100.0/24",   "203.0.113.0/24",  "240.0.0.0/4",
        "255.255.255.255/32", "::1/128",           "::/128",          "::ffff:0:0/96",
        "64:ff9b::/96",       "64:ff9b:1::/48",    "100::/64",        "100:0:0:1::/64",
        "2001::/23",          "2001::/32",         "2001:1::1/128",   "2001:1::2/128",
        "2001:1::3/128",      "2001:2::/48",       "2001:3::/32",     "2001:4:112::/48",
        "2001:10::/28",       "2001:20::/28",      "2001:30::/28",    "2001:db8::/32",
        "2002::/16",          "2620:4f:8000::/48", "3fff::/20",       "5f00::/16",
        "fc00::/7",           "fe80::/10"})
    EXPECT_TRUE(have.contains(Prefix::parse(text).value().to_string())) << text;
}

}  // namespace
}  // namespace oceanid::proxy
