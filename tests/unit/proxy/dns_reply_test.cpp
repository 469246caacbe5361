#include "proxy/core/dns_reply.hpp"

#include "tests/unit/proxy/dns_wire.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const std::string asked = "db.example.test";

DnsMessage reply(std::vector<DnsRecord> answers = {}, std::vector<DnsRecord> authority = {},
                 unsigned flags = 0x8180) {
  return {7, flags, dns_question(asked, dns_a), std::move(answers), std::move(authority)};
}

DnsRecord a(std::string owner, const std::string& address, std::uint32_t ttl = 60) {
  return {std::move(owner), dns_a, ttl, dns_address(address)};
}
DnsRecord alias(std::string owner, const std::string& target, std::uint32_t ttl = 60) {
  return {std::move(owner), dns_cname, ttl, dns_name(target)};
}
DnsRecord soa(std::uint32_t ttl, std::uint32_t minimum) {
  return {dns_name("example.test"), dns_soa, ttl, dns_soa_data(minimum)};
}

std::optional<DnsReply> read(const DnsMessage& message) {
  return read_dns_reply(encode(message), asked, Family::v4);
}

std::vector<std::string> texts(const DnsReply& reply) {
  std::vector<std::string> out;
  for (const IpAddress& address : reply.addresses)
    out.push_back(address.to_string());
  return out;
}

TEST(DnsReply, AddressesInOrderWithTheLeastTtl) {
  const auto said =
      read(reply({a(dns_asked_name, "192.0.2.1", 60), a(dns_asked_name, "192.0.2.2", 30),
                  a(dns_asked_name, "192.0.2.1", 90)}));
  ASSERT_TRUE(said);
  EXPECT_EQ(said->outcome, DnsReply::Outcome::addresses);
  EXPECT_THAT(texts(*said), ElementsAre("192.0.2.1", "192.0.2.2"));
  EXPECT_EQ(said->ttl, 30s);
}

TEST(DnsReply, Ipv6) {
  DnsMessage message;
  message.question = dns_question("DB.example.TEST", dns_aaaa);
  message.answers = {{dns_asked_name, dns_aaaa, 5, dns_address("2001:db8::1")},
                     {dns_asked_name, dns_aaaa, 5, dns_address("::ffff:192.0.2.1")}};
  const auto said = read_dns_reply(encode(message), asked, Family::v6);
  ASSERT_TRUE(said);
  EXPECT_THAT(texts(*said), ElementsAre("2001:db8::1", "192.0.2.1"));
  EXPECT_FALSE(read_dns_reply(encode(message), asked, Family::v4)) << "not what was asked";
}

TEST(DnsReply, AliasesAreFollowedInAnyOrderAndTheirTtlCounts) {
  const auto said = read(reply({a(dns_name("c.example.test"), "192.0.2.3", 300),
                                alias(dns_name("B.example.test"), "C.example.test", 20),
                                alias(dns_asked_name, "b.example.test", 40),
                                a(dns_name("stranger.example.test"), "192.0.2.9", 1)}));
  ASSERT_TRUE(said);
  EXPECT_THAT(texts(*said), ElementsAre("192.0.2.3"));
  EXPECT_EQ(said->ttl, 20s);
}

TEST(DnsReply, AddressesThatTheChainDoesNotLeadToAreNotTaken) {
  const auto said =
      read(reply({alias(dns_asked_name, "b.example.test"), a(dns_asked_name, "192.0.2.1"),
                  a(dns_name("x.test"), "192.0.2.2")}));
  ASSERT_TRUE(said);
  EXPECT_EQ(said->outcome, DnsReply::Outcome::no_data);
  EXPECT_THAT(said->addresses, IsEmpty());
}

TEST(DnsReply, ALoopOfAliasesEnds) {
  const auto said = read(
      reply({alias(dns_asked_name, "b.example.test"), alias(dns_name("b.example.test"), asked)}));
  ASSERT_TRUE(said);
  EXPECT_EQ(said->outcome, DnsReply::Outcome::no_data);
}

TEST(DnsReply, ThatThereIsNoneHoldsAsLongAsTheZoneSays) {
  const auto no_name = read(reply({}, {soa(300, 2)}, 0x8183));
  ASSERT_TRUE(no_name);
  EXPECT_EQ(no_name->outcome, DnsReply::Outcome::no_name);
  EXPECT_EQ(no_name->ttl, 2s);
  const auto no_data = read(reply({}, {soa(3, 900)}));
  ASSERT_TRUE(no_data);
  EXPECT_EQ(no_data->outcome, DnsReply::Outcome::no_data);
  EXPECT_EQ(no_data->ttl, 3s);
  EXPECT_EQ(read(reply({alias(dns_asked_name, "b.example.test", 1)}, {soa(300, 300)}))->ttl, 1s);
  EXPECT_EQ(read(reply({}, {}, 0x8183))->ttl, std::nullopt);
}

TEST(DnsReply, AHugeTtlIsNone) {
  EXPECT_EQ(read(reply({a(dns_asked_name, "192.0.2.1", 0x80000000U)}))->ttl, 0s);
}

TEST(DnsReply, AddressesAreBounded) {
  std::vector<DnsRecord> many;
  for (int i = 0; i < 200; ++i)
    many.push_back(a(dns_asked_name, "192.0.2." + std::to_string(i)));
  EXPECT_EQ(read(reply(std::move(many)))->addresses.size(), most_addresses);
  std::vector<DnsRecord> fifty;
  for (int i = 0; i < 50; ++i)
    fifty.push_back(a(dns_asked_name, "192.0.2." + std::to_string(i)));
  EXPECT_EQ(read(reply(std::move(fifty)))->addresses.size(), 50U);
}

TEST(DnsReply, WhatIsNotAReplyToThisQuestionIsRefused) {
  const DnsMessage good = reply({a(dns_asked_name, "192.0.2.1")});
  ASSERT_TRUE(read(good));
  DnsMessage other = good;
  other.question = dns_question("other.example.test", dns_a);
  EXPECT_FALSE(read(other));
  other = good;
  other.question = dns_question(asked, dns_aaaa);
  EXPECT_FALSE(read(other));
  for (const unsigned flags : {0x0180U, 0x8380U, 0x8182U, 0x8185U}) {  // query, cut, failures
    other = good;
    other.flags = flags;
    EXPECT_FALSE(read(other)) << flags;
  }
}

TEST(DnsReply, EveryTruncationIsRefused) {
  const std::string whole = encode(
      reply({alias(dns_asked_name, "b.example.test"), a(dns_name("b.example.test"), "192.0.2.1")}));
  ASSERT_TRUE(read_dns_reply(whole, asked, Family::v4));
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(read_dns_reply(whole.substr(0, size), asked, Family::v4)) << size;
  const std::string none = encode(reply({}, {soa(300, 2)}));
  for (std::size_t size = 0; size < none.size(); ++size)
    EXPECT_FALSE(read_dns_reply(none.substr(0, size), asked, Family::v4)) << size;
}

TEST(DnsReply, APointerMustLeadBackwards) {
  for (const std::string pointer : {"\xc0\x21", "\xc0\xff", "\xff\xff", "\x40"})  // itself, ahead
    EXPECT_FALSE(read(reply({a(pointer, "192.0.2.1")})));
  DnsMessage message = reply();
  message.question = "\xc0\x0c" + dns_u16(dns_a) + dns_u16(1);
  EXPECT_FALSE(read_dns_reply(encode(message), asked, Family::v4));
}

TEST(DnsReply, ADotInsideALabelIsNotTwoLabels) {
  DnsMessage message = reply({a(dns_asked_name, "192.0.2.1")});
  message.question =
      std::string("\x0a") + "db.example" + dns_name("test") + dns_u16(dns_a) + dns_u16(1);
  EXPECT_FALSE(read_dns_reply(encode(message), asked, Family::v4));
}

TEST(DnsReply, AnAddressOfTheWrongSizeIsRefused) {
  EXPECT_FALSE(read(reply({{dns_asked_name, dns_a, 60, "abc"}})));
}

}  // namespace
}  // namespace oceanid::proxy::test
