// Set elements as an nfnetlink batch, byte by byte, without a kernel.

#include "routing/edge/nft_elements.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include <gmock/gmock.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

namespace oceanid::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

std::string hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

std::vector<nlmsghdr> heads(const ElementBatch& batch) {
  std::vector<nlmsghdr> out;
  for (std::size_t at = 0; at + sizeof(nlmsghdr) <= batch.bytes.size();) {
    nlmsghdr head{};
    std::memcpy(&head, batch.bytes.data() + at, sizeof(head));
    out.push_back(head);
    EXPECT_EQ(head.nlmsg_len % 4, 0U);
    at += std::max<std::size_t>(head.nlmsg_len, sizeof(head));
  }
  return out;
}

ElementBatch batch_of(const ElementChange& change) {
  return encode_elements(std::span(&change, 1), std::nullopt, 1).value();
}
std::string interval(std::string_view text) {
  return hex(batch_of({"s", ElementAction::add, {prefix(text)}, {}}).bytes);
}

TEST(NftElements, IsOneTransactionThatNamesTheGeneration) {
  const ElementChange change{"s4", ElementAction::add, {prefix("192.0.2.0/24")}, {}};
  const auto batch = encode_elements(std::span(&change, 1), 0x01020304, 7);
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->first_sequence, 7U);
  EXPECT_EQ(batch->last_sequence, 8U);
  EXPECT_EQ(hex(batch->bytes),
            // NFNL_MSG_BATCH_BEGIN for NFNL_SUBSYS_NFTABLES, NFNL_BATCH_GENID
            "1c0000001000010007000000000000000000000a0800010001020304"
            // NFT_MSG_NEWSETELEM: create, acknowledge; inet; table, set
            "540000000c0a0504080000000000000001000000"
            "0c0001006f6365616e696400"
            "0700020073340000"
            // NFTA_SET_ELEM_LIST_ELEMENTS: 192.0.2.0, and 192.0.3.0 as its end
            "2c000380"
            "100001800c00018008000100c0000200"
            "180001800c00018008000100c00003000800030000000001"
            // NFNL_MSG_BATCH_END
            "140000001100010009000000000000000000000a");
}

TEST(NftElements, ConcatenatesPaddedFieldsAndCarriesTimeouts) {
  ElementKey key;
  key.address(address("192.0.2.1")).protocol(6).port(443);
  const auto batch =
      batch_of({"t", ElementAction::remove, {}, {{key, std::chrono::milliseconds(1500)}}});
  EXPECT_EQ(hex(batch.bytes),
            "140000001000010001000000000000000000000a"
            // NFT_MSG_DELSETELEM, without create
            "500000000e0a0500020000000000000001000000"
            "0c0001006f6365616e696400"
            "0600020074000000"
            "2800038024000180"
            "1400018010000100c00002010600000001bb0000"
            "0c00040000000000000005dc"
            "140000001100010003000000000000000000000a");
}

TEST(NftElements, TheEndOfAnIntervalCarriesAcrossBytesAndStopsAtTheLastAddress) {
  const std::string end_flag = "0800030000000001";
  EXPECT_THAT(interval("10.255.255.255/32"), HasSubstr("080001000b000000" + end_flag));
  EXPECT_THAT(interval("10.128.0.0/9"), HasSubstr("080001000b000000" + end_flag));
  EXPECT_THAT(interval("0.0.0.0/1"), HasSubstr("0800010080000000" + end_flag));
  for (const auto* open : {"255.255.255.255/32", "128.0.0.0/1", "0.0.0.0/0", "::/0", "ff00::/8"})
    EXPECT_THAT(interval(open), Not(HasSubstr(end_flag))) << open;
  EXPECT_THAT(interval("2001:db8:ffff:ffff::/64"),
              HasSubstr("1400010020010db9000000000000000000000000" + end_flag));
}

TEST(NftElements, ManyElementsAreSplitIntoMessagesOfOneTransaction) {
  ElementChange change{"big", ElementAction::add, {}, {}};
  for (unsigned i = 0; i < 100'000; ++i)
    change.prefixes.push_back(Prefix::host(
        IpAddress::v4({10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                       static_cast<std::uint8_t>(i)})));
  const auto batch = batch_of(change);
  const auto all = heads(batch);
  ASSERT_GT(all.size(), 10U);
  EXPECT_EQ(all.front().nlmsg_type, NFNL_MSG_BATCH_BEGIN);
  EXPECT_EQ(all.back().nlmsg_type, NFNL_MSG_BATCH_END);
  std::size_t acknowledged = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_LT(all[i].nlmsg_len, 65'536U) << "a list of elements is one attribute";
    EXPECT_EQ(all[i].nlmsg_seq, 1 + i);
    acknowledged += (all[i].nlmsg_flags & NLM_F_ACK) != 0 ? 1 : 0;
  }
  EXPECT_EQ(acknowledged, 1U);
  EXPECT_EQ(all[all.size() - 2].nlmsg_seq, batch.last_sequence);
  EXPECT_NE(all[all.size() - 2].nlmsg_flags & NLM_F_ACK, 0);
  EXPECT_LT(batch.bytes.capacity(), batch.bytes.size() * 6 / 5) << "sized before it was filled";
}

TEST(NftElements, NothingToChangeIsNoTransaction) {
  EXPECT_TRUE(batch_of({"s", ElementAction::add, {}, {}}).empty());
  EXPECT_TRUE(encode_elements({}, 4, 1)->empty());
}

TEST(NftElements, AKeyThatDoesNotFitIsRefused) {
  ElementKey key;
  const IpAddress six = address("2001:db8::1");
  key.address(six).address(six).protocol(6).port(1).port(2);
  EXPECT_TRUE(key.complete());
  EXPECT_EQ(key.bytes().size(), ElementKey::most);
  key.port(3);
  const ElementChange change{"s", ElementAction::add, {}, {{key}}};
  const auto batch = encode_elements(std::span(&change, 1), std::nullopt, 1);
  ASSERT_FALSE(batch);
  EXPECT_EQ(batch.error().code, Errc::invalid_argument);
}

}  // namespace
}  // namespace oceanid::routing
