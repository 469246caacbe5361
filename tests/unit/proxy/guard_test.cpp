// The guard as a table: every special block with both edges and both neighbours, every way to hide
// an IPv4 address in an IPv6 one, and who wins when entries overlap.
#include "proxy/core/guard.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress());
}

Prefix prefix(std::string_view text) {
  auto parsed = Prefix::parse(text);
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed.value_or(Prefix());
}

std::vector<Prefix> prefixes(std::initializer_list<std::string_view> texts) {
  std::vector<Prefix> out;
  for (const auto text : texts)
    out.push_back(prefix(text));
  return out;
}

Guard plain() {
  return Guard({}, {});
}

// What an address is: the metric token, which tells allowed ("public") from denied in a bare guard.
std::string_view range_of(const Guard& guard, std::string_view address) {
  return guard.judge(ip(address)).range;
}

TEST(Guard, LetsThePublicInternetPass) {
  for (const char* address :
       {"1.1.1.1", "8.8.8.8", "192.31.196.1", "192.52.193.1", "192.175.48.6", "93.184.216.34",
        "2606:4700:4700::1111", "2a00:1450:4001:80b::200e", "2620:4f:8000::6", "2400:cb00::1"})
    EXPECT_EQ(range_of(plain(), address), "public") << address;
}

TEST(Guard, RefusesTheMetadataServicesOfTheClouds) {
  for (const char* address : {"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192",
                              "168.63.129.16", "fd00:ec2::254", "fe80::a9fe:a9fe", "fd20:ce::254"})
    EXPECT_FALSE(plain().judge(ip(address)).allowed) << address;
}

struct Hidden {
  std::string_view address;
  bool allowed;
  std::string_view range;
};

TEST(Guard, JudgesTheAddressInsideTheAddress) {
  const Hidden cases[] = {
      {"::ffff:127.0.0.1", false, "loopback"},
      {"::ffff:169.254.169.254", false, "link-local"},
      {"::ffff:10.0.0.1", false, "private-10"},
      {"::ffff:0.0.0.0", false, "this-network"},
      {"::ffff:8.8.8.8", true, "public"},
      {"64:ff9b::10.0.0.1", false, "private-10"},
      {"64:ff9b::169.254.169.254", false, "link-local"},
      {"64:ff9b::8.8.8.8", true, "public"},
      {"2002:a00:1::", false, "6to4"},
      {"2002:808:808::1", false, "6to4"},
      {"::10.0.0.1", false, "ipv4-compatible"},
      {"::8.8.8.8", false, "ipv4-compatible"},
      {"::ffff:0:8.8.8.8", false, "ipv4-translated"},
      {"64:ff9b:1::8.8.8.8", false, "nat64-local"},
      {"2001:0:808:808:0:0:f7f7:f7f7", false, "teredo"},
      {"2a00::5efe:10.0.0.1", false, "private-10"},  // ISATAP under a public prefix
      {"2a00::200:5efe:127.0.0.1", false, "loopback"},
      {"2a00::200:5efe:8.8.8.8", true, "public"},
      {"2a00::100:5efe:127.0.0.1", true, "public"},  // not ISATAP: another interface identifier
  };
  for (const Hidden& c : cases) {
    const GuardVerdict v = plain().judge(ip(c.address));
    EXPECT_EQ(v.allowed, c.allowed) << c.address << ": " << v.rule;
    EXPECT_EQ(v.range, c.range) << c.address << ": " << v.rule;
  }
}

// With the carrier opened by the operator, the address inside still has to pass.
TEST(Guard, AnAllowedCarrierDoesNotExcuseWhatItCarries) {
  const Guard guard(
      {.allow = prefixes({"2002::/16", "2001::/32", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"}),
       .deny = {}},
      {});
  const Hidden cases[] = {
      {"2002:808:808::1", true, "guard-allow"},
      {"2002:a00:1::1", false, "private-10"},
      {"2002:7f00:1::1", false, "loopback"},
      {"2001:0:808:808:0:0:f7f7:f7f7", true, "guard-allow"},
      {"2001:0:a00:1:0:0:f7f7:f7f7", false, "private-10"},    // the server
      {"2001:0:808:808:0:0:f5ff:fffe", false, "private-10"},  // the client, 10.0.0.1 inverted
      {"2001:0:808:808:0:0:5601:5601", false, "link-local"},  // 169.254.169.254 inverted
      {"::8.8.8.8", true, "guard-allow"},
      {"::10.0.0.1", false, "private-10"},
      {"::ffff:0:8.8.8.8", true, "guard-allow"},
      {"::ffff:0:192.168.1.1", false, "private-192"},
      {"64:ff9b:1::8.8.8.8", true, "guard-allow"},  // /96 layout
      {"64:ff9b:1::10.0.0.1", false, "private-10"},
      {"64:ff9b:1:abcd:0:1:169.254.169.254", false, "link-local"},
      {"64:ff9b:1:808:8:800::", true, "guard-allow"},          // /48 layout, 8.8.8.8
      {"64:ff9b:1:a9fe:a9:fe00::", false, "link-local"},       // /48 layout, 169.254.169.254
      {"64:ff9b:1:12a9:fe:a9fe::", false, "link-local"},       // /56 layout
      {"64:ff9b:1:1212:a9:fea9:fe00:0", false, "link-local"},  // /64 layout
  };
  for (const Hidden& c : cases) {
    const GuardVerdict v = guard.judge(ip(c.address));
    EXPECT_EQ(v.allowed, c.allowed) << c.address << ": " << v.rule;
    EXPECT_EQ(v.range, c.range) << c.address << ": " << v.rule;
  }
}

TEST(Guard, AnAllowThatNamesTheEmbeddedBitsCountsAsIPv4OfThatLength) {
  const Guard host({.allow = prefixes({"64:ff9b::10.0.0.1/128"}), .deny = {}}, {});
  EXPECT_TRUE(host.judge(ip("64:ff9b::10.0.0.1")).allowed);
  EXPECT_FALSE(host.judge(ip("64:ff9b::10.0.0.2")).allowed);
  EXPECT_FALSE(host.judge(ip("10.0.0.1")).allowed) << "only the way through NAT64 was opened";

  const Guard block({.allow = prefixes({"64:ff9b::10.0.0.0/104"}), .deny = {}}, {});
  EXPECT_TRUE(block.judge(ip("64:ff9b::10.255.0.1")).allowed) << "equal length: the operator wins";

  const Guard half({.allow = prefixes({"64:ff9b::/97"}), .deny = {}}, {});
  EXPECT_FALSE(half.judge(ip("64:ff9b::10.0.0.1")).allowed)
      << "0.0.0.0/1 is shorter than 10.0.0.0/8";

  const Guard denied(
      {.allow = prefixes({"64:ff9b::8.8.8.8/128"}), .deny = prefixes({"8.8.8.8/32"})}, {});
  EXPECT_FALSE(denied.judge(ip("64:ff9b::8.8.8.8")).allowed) << "equal length: deny wins";
}

TEST(Guard, AnAllowForTheInnerAddressOpensItsTransparentCarriers) {
  const Guard guard({.allow = prefixes({"10.1.0.0/16"}), .deny = {}}, {});
  EXPECT_TRUE(guard.judge(ip("10.1.2.3")).allowed);
  EXPECT_TRUE(guard.judge(ip("::ffff:10.1.2.3")).allowed);
  EXPECT_TRUE(guard.judge(ip("64:ff9b::10.1.2.3")).allowed);
  EXPECT_FALSE(guard.judge(ip("2002:a01:203::")).allowed) << "6to4 itself stays shut";
  EXPECT_FALSE(guard.judge(ip("::ffff:10.2.0.1")).allowed);
}

TEST(Guard, ADenyForTheInnerAddressShutsItsCarriers) {
  const Guard guard({.allow = {}, .deny = prefixes({"8.8.8.0/24"})}, {});
  for (const char* address :
       {"8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2a00::5efe:8.8.8.8"})
    EXPECT_EQ(range_of(guard, address), "guard-deny") << address;
  EXPECT_EQ(range_of(guard, "::ffff:8.8.9.8"), "public");
}

TEST(Guard, MappedEntriesOfTheOperatorMeanIPv4) {
  const Guard guard(
      {.allow = prefixes({"::ffff:10.0.0.0/104"}), .deny = prefixes({"::ffff:8.8.8.8/128"})}, {});
  EXPECT_TRUE(guard.judge(ip("10.9.9.9")).allowed);
  EXPECT_TRUE(guard.judge(ip("::ffff:10.9.9.9")).allowed);
  EXPECT_FALSE(guard.judge(ip("8.8.8.8")).allowed);

  const Guard whole({.allow = {}, .deny = prefixes({"::ffff:0:0/96"})}, {});
  EXPECT_TRUE(whole.judge(ip("1.1.1.1")).allowed) << "the mapped form is denied, not all of IPv4";
  EXPECT_FALSE(whole.judge(ip("::ffff:1.1.1.1")).allowed);
}

TEST(Guard, LongestPrefixWins) {
  const Guard guard({.allow = prefixes({"10.0.0.0/16", "10.0.5.0/32", "203.0.113.10/32"}),
                     .deny = prefixes({"10.0.5.0/24", "1.0.0.0/8"})},
                    {});
  EXPECT_TRUE(guard.judge(ip("10.0.1.1")).allowed);   // allow /16 over table /8
  EXPECT_FALSE(guard.judge(ip("10.1.0.0")).allowed);  // table /8
  EXPECT_FALSE(guard.judge(ip("10.0.5.1")).allowed);  // deny /24 over allow /16
  EXPECT_TRUE(guard.judge(ip("10.0.5.0")).allowed);   // allow /32 over deny /24
  EXPECT_TRUE(guard.judge(ip("203.0.113.10")).allowed);
  EXPECT_FALSE(guard.judge(ip("203.0.113.11")).allowed);
  EXPECT_EQ(range_of(guard, "1.1.1.1"), "guard-deny");
}

TEST(Guard, AWideAllowOpensNothingSpecial) {
  const Guard guard({.allow = prefixes({"0.0.0.0/0", "::/0", "0.0.0.0/4"}), .deny = {}}, {});
  EXPECT_EQ(range_of(guard, "10.0.0.1"), "private-10");
  EXPECT_EQ(range_of(guard, "fc00::1"), "unique-local");
  EXPECT_TRUE(guard.judge(ip("1.1.1.1")).allowed);
}

TEST(Guard, AWideDenyShutsEverythingNotAllowed) {
  const Guard guard({.allow = prefixes({"198.51.100.0/24", "2606::/16"}),
                     .deny = prefixes({"0.0.0.0/0", "::/0"})},
                    {});
  for (const char* address :
       {"1.1.1.1", "192.31.196.1", "2a00::1", "2001:3::1", "64:ff9b::1.1.1.1"})
    EXPECT_FALSE(guard.judge(ip(address)).allowed) << address;
  EXPECT_TRUE(guard.judge(ip("198.51.100.7")).allowed);
  EXPECT_TRUE(guard.judge(ip("2606::1")).allowed);
}

TEST(Guard, AtEqualLengthTheOperatorBeatsTheTableAndDenyBeatsAllow) {
  const Guard allowed(
      {.allow = prefixes({"203.0.113.0/24", "127.0.0.0/8", "2001:db8::/32"}), .deny = {}}, {});
  EXPECT_TRUE(allowed.judge(ip("203.0.113.10")).allowed);
  EXPECT_TRUE(allowed.judge(ip("127.0.0.1")).allowed);
  EXPECT_TRUE(allowed.judge(ip("2001:db8::1")).allowed);

  const Guard both({.allow = prefixes({"203.0.113.0/24"}), .deny = prefixes({"203.0.113.0/24"})},
                   {});
  EXPECT_EQ(range_of(both, "203.0.113.10"), "guard-deny");
}

std::vector<NamedPrefix> own_ranges() {
  return {{prefix("203.0.114.7/32"), OwnKind::listener, "listener"},
          {prefix("10.42.0.0/16"), OwnKind::pods, "pods"},
          {prefix("10.43.0.0/16"), OwnKind::services, "services"},
          {prefix("10.99.0.0/24"), OwnKind::tunnel, "tunnel"},
          {prefix("2a01:4f8:1::/64"), OwnKind::node, "nodes"}};
}

TEST(Guard, RefusesTheGatewaysOwnRanges) {
  const Guard guard({}, own_ranges());
  EXPECT_EQ(range_of(guard, "203.0.114.7"), "own-listener");
  EXPECT_EQ(range_of(guard, "::ffff:203.0.114.7"), "own-listener");
  EXPECT_EQ(range_of(guard, "203.0.114.8"), "public");
  EXPECT_EQ(range_of(guard, "10.42.1.1"), "own-pods");
  EXPECT_EQ(range_of(guard, "10.43.0.1"), "own-services");
  EXPECT_EQ(range_of(guard, "10.99.0.3"), "own-tunnel");
  EXPECT_EQ(range_of(guard, "10.44.0.1"), "private-10");
  EXPECT_EQ(range_of(guard, "2a01:4f8:1::9"), "own-node");
  EXPECT_EQ(range_of(guard, "2a01:4f8:1:1::"), "public");
}

TEST(Guard, AnAllowForAWideRangeLeavesTheOwnOnesShut) {
  const Guard guard({.allow = prefixes({"10.0.0.0/8"}), .deny = {}}, own_ranges());
  EXPECT_TRUE(guard.judge(ip("10.1.1.1")).allowed);
  EXPECT_EQ(range_of(guard, "10.42.1.1"), "own-pods");
  const Guard pods({.allow = prefixes({"10.42.0.0/16"}), .deny = {}}, own_ranges());
  EXPECT_TRUE(pods.judge(ip("10.42.1.1")).allowed) << "equal length: the operator wins";
}

TEST(Guard, SaysWhichPrefixDecidedAndWhy) {
  const Guard guard({.allow = prefixes({"198.51.100.0/24"}), .deny = prefixes({"8.8.8.8/32"})},
                    own_ranges());
  const auto rule = [&](std::string_view address) { return guard.judge(ip(address)).rule; };
  EXPECT_EQ(rule("10.0.0.1"), "10.0.0.0/8: private use (RFC 1918)");
  EXPECT_EQ(rule("10.42.0.1"), "10.42.0.0/16: pods, the gateway's own range");
  EXPECT_EQ(rule("8.8.8.8"), "8.8.8.8/32: guard.deny");
  EXPECT_EQ(rule("198.51.100.1"), "198.51.100.0/24: guard.allow");
  EXPECT_EQ(rule("1.1.1.1"), "no special range contains it");
  EXPECT_EQ(rule("64:ff9b::10.0.0.1"),
            "10.0.0.0/8: private use (RFC 1918), inside the NAT64 address 64:ff9b::a00:1");
}

}  // namespace
}  // namespace oceanid::proxy
