#include "proxy/core/rule.hpp"

#include <string_view>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

RuleSet rules(std::initializer_list<std::string_view> allow,
              std::initializer_list<std::string_view> deny) {
  RuleSet out;
  for (const auto text : allow)
    out.add(parse_rule(text).value(), false);
  for (const auto text : deny)
    out.add(parse_rule(text).value(), true);
  out.finish();
  return out;
}

std::string said(const std::optional<RuleSet::Match>& match) {
  if (!match) return "nothing";
  return (match->deny ? "deny " : "allow ") + match->rule->text;
}

TEST(Rule, IsReadInEveryForm) {
  const auto kind = [](std::string_view text) { return parse_rule(text).value().kind; };
  EXPECT_EQ(kind("*"), Rule::Kind::any);
  EXPECT_EQ(kind("*:443"), Rule::Kind::any);
  EXPECT_EQ(kind("Example.COM."), Rule::Kind::exact);
  EXPECT_EQ(parse_rule("Example.COM.:443").value().host, "example.com");
  EXPECT_EQ(kind("*.example.com"), Rule::Kind::suffix);
  EXPECT_EQ(parse_rule("*.Example.com").value().host, "example.com");
  EXPECT_EQ(kind("10.0.0.0/8:22"), Rule::Kind::address);
  EXPECT_EQ(parse_rule("2001:db8::1").value().prefix.to_string(), "2001:db8::1/128");
  EXPECT_EQ(parse_rule("[2001:db8::/32]:443").value().prefix.to_string(), "2001:db8::/32");
  EXPECT_EQ(parse_rule("::ffff:10.0.0.0/104").value().prefix.to_string(), "10.0.0.0/8");
  const std::vector<PortRange> ports = {{443, 443}, {8000, 8099}};
  EXPECT_EQ(parse_rule("a.example:443,8000-8099").value().ports, ports);
}

TEST(Rule, IsRefusedWhenItIsNone) {
  for (const std::string_view text : {"",
                                      ":443",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:1-",
                                      "a:-1",
                                      "a:9-1",
                                      "a:1,,2",
                                      "a b",
                                      "*.",
                                      "*a.b",
                                      "a.*.b",
                                      "**",
                                      "*.10.0.0.1",
                                      "10.0.0.1/8",
                                      "10.0.0.0/33",
                                      "010.0.0.1",
                                      "0x7f.1",
                                      "127.1",
                                      "::1:x",
                                      "2001:db8::/32:443",
                                      "[::1",
                                      "[::1]443",
                                      "[10.0.0.1]:1",
                                      "[a.example]:443",
                                      "https://a.example",
                                      "a.example/path",
                                      "a..b",
                                      "-a.example",
                                      "a:443:443"})
    EXPECT_FALSE(parse_rule(text)) << text;
}

TEST(RuleSet, TheMostSpecificNameDecides) {
  const RuleSet set = rules({"*.example.com", "bad.example.com", "*.a.b.example.com"},
                            {"*.b.example.com", "bad.example.com"});
  EXPECT_EQ(said(set.match_name("www.example.com", 443)), "allow *.example.com");
  EXPECT_EQ(said(set.match_name("example.com", 443)), "nothing");  // the apex is not below itself
  EXPECT_EQ(said(set.match_name("notexample.com", 443)), "nothing");
  EXPECT_EQ(said(set.match_name("x.b.example.com", 443)), "deny *.b.example.com");
  EXPECT_EQ(said(set.match_name("x.a.b.example.com", 443)), "allow *.a.b.example.com");
  EXPECT_EQ(said(set.match_name("bad.example.com", 443)), "deny bad.example.com");
}

TEST(RuleSet, PortsNarrowARule) {
  const RuleSet set = rules({"*.example.com:443,8000-8099", "*:53"}, {"db.example.com:5432"});
  EXPECT_EQ(said(set.match_name("a.example.com", 8050)), "allow *.example.com:443,8000-8099");
  EXPECT_EQ(said(set.match_name("a.example.com", 8100)), "nothing");
  EXPECT_EQ(said(set.match_name("db.example.com", 5432)), "deny db.example.com:5432");
  EXPECT_EQ(said(set.match_name("db.example.com", 443)), "allow *.example.com:443,8000-8099");
  EXPECT_EQ(said(set.match_name("other.test", 53)), "allow *:53");
}

TEST(RuleSet, TheLongestPrefixDecidesAndDenyAtEqualLength) {
  const RuleSet set = rules({"10.0.0.0/8", "10.1.2.0/24", "192.0.2.0/24", "2001:db8::/32"},
                            {"10.1.0.0/16", "192.0.2.0/24", "0.0.0.0/0"});
  const auto at = [&](std::string_view text) {
    return said(set.match_address(IpAddress::parse(text).value(), 443, false));
  };
  EXPECT_EQ(at("10.9.9.9"), "allow 10.0.0.0/8");
  EXPECT_EQ(at("10.1.9.9"), "deny 10.1.0.0/16");
  EXPECT_EQ(at("10.1.2.9"), "allow 10.1.2.0/24");
  EXPECT_EQ(at("192.0.2.1"), "deny 192.0.2.0/24");
  EXPECT_EQ(at("198.51.100.1"), "deny 0.0.0.0/0");
  EXPECT_EQ(at("2001:db8::1"), "allow 2001:db8::/32");
  EXPECT_EQ(at("2001:db9::1"), "nothing");
}

TEST(RuleSet, ADenyReachesWhatAnAddressCarries) {
  const RuleSet set = rules({"::/0", "0.0.0.0/0"}, {"198.51.100.0/24"});
  for (const auto* text :
       {"198.51.100.7", "::ffff:198.51.100.7", "64:ff9b::198.51.100.7", "2002:c633:6407::1"})
    EXPECT_EQ(said(set.match_address(IpAddress::parse(text).value(), 443, false)),
              "deny 198.51.100.0/24")
        << text;
}

TEST(RuleSet, AnyCountsForAddressesOnlyWhenTheyWereAskedFor) {
  const RuleSet set = rules({"*"}, {});
  const auto address = IpAddress::parse("192.0.2.1").value();
  EXPECT_EQ(said(set.match_address(address, 443, true)), "allow *");
  EXPECT_EQ(said(set.match_address(address, 443, false)), "nothing");
  EXPECT_EQ(said(set.match_name("anything.test", 1)), "allow *");
}

}  // namespace
}  // namespace oceanid::proxy
