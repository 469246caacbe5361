#include "gateway/base/net_types.hpp"

#include <gtest/gtest.h>

namespace oceanid {
namespace {

TEST(IpAddress, ParsesOnlyCanonicalDottedQuads) {
  EXPECT_TRUE(IpAddress::parse("192.0.2.1"));
  for (const auto* bad : {"", "192.0.2", "192.0.2.01", "0x7f.0.0.1", "192.0.2.256", "1.2.3.4 ",
                          "1.2.3.4.5", "fe80::1%eth0", "[::1]", "::g"})
    EXPECT_FALSE(IpAddress::parse(bad)) << bad;
}

TEST(IpAddress, PrintsIpv6AsRfc5952) {
  EXPECT_EQ(IpAddress::parse("2001:DB8:0:0:0:0:0:1")->to_string(), "2001:db8::1");
  EXPECT_EQ(IpAddress::parse("::ffff:192.0.2.1")->to_string(), "::ffff:192.0.2.1");
}

TEST(IpAddress, IsOrderedByFamilyThenBytes) {
  EXPECT_LT(*IpAddress::parse("192.0.2.1"), *IpAddress::parse("192.0.2.2"));
  EXPECT_LT(*IpAddress::parse("255.255.255.255"), *IpAddress::parse("::"));
}

TEST(Prefix, RefusesHostBitsAndNamesTheRightPrefix) {
  const auto bad = Prefix::parse("10.1.2.3/8");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().what, "10.1.2.3/8 has host bits set; the prefix is 10.0.0.0/8");
  EXPECT_FALSE(Prefix::parse("2001:db8::1/64"));
}

TEST(Prefix, ReadsABareAddressAsAHost) {
  EXPECT_EQ(Prefix::parse("192.0.2.7")->to_string(), "192.0.2.7/32");
  EXPECT_EQ(Prefix::parse("2001:db8::7")->to_string(), "2001:db8::7/128");
}

TEST(Prefix, RefusesBadLengths) {
  for (const auto* bad :
       {"10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/-1", "::/129", "10.0.0.0/8/8"})
    EXPECT_FALSE(Prefix::parse(bad)) << bad;
}

TEST(Prefix, ContainsItsEdgesAndNotTheirNeighbours) {
  const Prefix block = Prefix::parse("100.64.0.0/10").value();
  EXPECT_TRUE(block.contains(*IpAddress::parse("100.64.0.0")));
  EXPECT_TRUE(block.contains(*IpAddress::parse("100.127.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("100.63.255.255")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("100.128.0.0")));
  EXPECT_FALSE(block.contains(*IpAddress::parse("::ffff:100.64.0.1")));
}

TEST(Prefix, OverlapsInBothDirections) {
  const Prefix wide = Prefix::parse("10.0.0.0/8").value();
  const Prefix narrow = Prefix::parse("10.42.0.0/16").value();
  EXPECT_TRUE(wide.overlaps(narrow));
  EXPECT_TRUE(narrow.overlaps(wide));
  EXPECT_FALSE(narrow.overlaps(Prefix::parse("10.43.0.0/16").value()));
  EXPECT_FALSE(Prefix::any(Family::v4).overlaps(Prefix::any(Family::v6)));
}

TEST(HostPort, NeedsBothParts) {
  EXPECT_EQ(HostPort::parse("db.example:5432")->to_string(), "db.example:5432");
  EXPECT_EQ(HostPort::parse("[2001:db8::1]:80")->to_string(), "[2001:db8::1]:80");
  for (const auto* bad : {"db.example", "db.example:", ":80", "db:0", "db:65536", "db:080",
                          "::1:80", "[::1]", "[192.0.2.1]:80", "a b:80", "[::1]80"})
    EXPECT_FALSE(HostPort::parse(bad)) << bad;
}

TEST(IfName, KnowsTheKernelsLimits) {
  EXPECT_TRUE(IfName::parse("oc-tethys"));
  EXPECT_TRUE(IfName::parse("fifteen-bytes-x"));
  for (const auto* bad : {"", ".", "..", "sixteen-bytes-xx", "a/b", "a b", "a:b", "a\"b"})
    EXPECT_FALSE(IfName::parse(bad)) << bad;
}

TEST(Mark, KeepsTheValueInsideTheMask) {
  EXPECT_EQ(Mark::parse("0x01000000/0x0f000000")->to_string(), "0x01000000/0x0f000000");
  for (const auto* bad : {"1/2", "0x1/", "0x10/0x0f", "0x1ffffffff/0xf", "0xg"})
    EXPECT_FALSE(Mark::parse(bad)) << bad;
}

TEST(ParseDecimal, TakesOneSpellingOnly) {
  EXPECT_EQ(parse_decimal("0", 10), 0U);
  EXPECT_EQ(parse_decimal("18446744073709551615", UINT64_MAX), UINT64_MAX);
  for (const auto* bad : {"", "+1", "-1", "01", " 1", "1 ", "1.0", "18446744073709551616", "11"})
    EXPECT_FALSE(parse_decimal(bad, 10)) << bad;
}

}  // namespace
}  // namespace oceanid
