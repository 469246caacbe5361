// The golden bytes were recorded from Linux 6.18 on a little-endian machine.

#include "routing/edge/conntrack_codec.hpp"

#include "routing/edge/netlink_attributes.hpp"

#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

constexpr std::string_view begun4 =
    "cc000000000100060000000000000000020000003400018014000180080001000a2a010508000200cb0071321c0002"
    "800500010006000000060002009c4000000600030015380000340002801400018008000100cb007132080002000a2a"
    "01051c00028005000100060000000600020015380000060003009c40000008000c000239669b080003000000000808"
    "00070000000078300004802c0001800500010001000000050002000a00000005000300000000000600040003000000"
    "06000500000000000800080008000000";
constexpr std::string_view established4 =
    "cc000000000100000000000000000000020000003400018014000180080001000a2a010508000200cb0071321c0002"
    "800500010006000000060002009c4000000600030015380000340002801400018008000100cb007132080002000a2a"
    "01051c00028005000100060000000600020015380000060003009c40000008000c000239669b080003000000000e08"
    "00070000069780300004802c0001800500010003000000050002000a000000050003000a0000000600040023000000"
    "06000500230000000800080008000000";
constexpr std::string_view ended6 =
    "14010000020100000000000055ee4d8f0a0000004c0001802c0001801400030020010db80001000000000000000000"
    "051400040020010db80002000000000000000000501c0002800500010006000000060002009c410000060003001538"
    "00004c0002802c0001801400030020010db80002000000000000000000501400040020010db8000100000000000000"
    "0000051c00028005000100060000000600020015380000060003009c41000008000c00c140ea45080003000000020e"
    "08000700000000091c0009800c00010000000000000000040c00020000000000000001291c000a800c0001000000"
    "0000000000020c0002000000000000000098100004800c00018005000100080000000800080008000000";

// Aligned as received messages are.
std::vector<nlmsghdr> message_of(std::string_view hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(
        static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  std::vector<nlmsghdr> out((bytes.size() + sizeof(nlmsghdr) - 1) / sizeof(nlmsghdr));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

Flow flow4() {
  Flow flow;
  flow.original = {address("10.42.1.5"), address("203.0.113.50"), 40000, 5432, tcp_number};
  flow.reply = {address("203.0.113.50"), address("10.42.1.5"), 5432, 40000, tcp_number};
  flow.mark = 0x08000000;
  flow.id = 0x0239669b;
  return flow;
}

// Recorded from a kernel whose headers are little-endian, as message_of() takes them.
class ConntrackNotices : public testing::Test {
 protected:
  void SetUp() override {
    if constexpr (std::endian::native != std::endian::little)
      GTEST_SKIP() << "the recorded notices are a little-endian kernel's, this machine is not";
  }
};

TEST_F(ConntrackNotices, ReadsAConnectionThatBegins) {
  Flow wanted = flow4();
  wanted.status = 8;
  wanted.tcp_state = TcpState::syn_sent;
  EXPECT_EQ(decode_flow(*message_of(begun4).data()), (FlowEvent{FlowEventKind::begun, wanted}));
}

TEST_F(ConntrackNotices, ReadsAnUpdateIntoEstablished) {
  Flow wanted = flow4();
  wanted.status = 8 | flow_seen_reply | flow_assured;
  wanted.tcp_state = TcpState::established;
  EXPECT_EQ(decode_flow(*message_of(established4).data()),
            (FlowEvent{FlowEventKind::updated, wanted}));
}

TEST_F(ConntrackNotices, ReadsTheEndWithItsCounts) {
  const auto event = decode_flow(*message_of(ended6).data());
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, FlowEventKind::ended);
  EXPECT_EQ(event->flow.original, (FlowTuple{address("2001:db8:1::5"), address("2001:db8:2::50"),
                                             40001, 5432, tcp_number}));
  EXPECT_EQ(event->flow.sent, (FlowCount{4, 0x129}));
  EXPECT_EQ(event->flow.received, (FlowCount{2, 0x98}));
  EXPECT_EQ(event->flow.mark, 0x08000000U);
  EXPECT_EQ(event->flow.id, 0xc140ea45U);
}

TEST_F(ConntrackNotices, ReadsAPartOfADumpAsBegun) {
  auto message = message_of(established4);
  message[0].nlmsg_flags = NLM_F_MULTI;
  EXPECT_EQ(decode_flow(message[0])->kind, FlowEventKind::begun);
}

TEST_F(ConntrackNotices, LeavesOtherMessagesAndOtherZonesAlone) {
  auto message = message_of(begun4);
  message[0].nlmsg_type = (NFNL_SUBSYS_CTNETLINK_EXP << 8);
  EXPECT_FALSE(decode_flow(message[0]));
  Message zoned = encode_flow_delete(flow4());
  zoned.put_u16(CTA_ZONE, 0x0100);
  EXPECT_FALSE(decode_flow(*zoned.header()));
}

TEST(ConntrackCodec, SurvivesEveryTruncation) {
  for (const std::string_view golden : {begun4, established4, ended6})
    for (std::uint32_t length = sizeof(nlmsghdr); length < golden.size() / 2; ++length) {
      auto message = message_of(golden);
      message[0].nlmsg_len = length;
      static_cast<void>(decode_flow(message[0]));  // the sanitizers judge
    }
}

// What is asked for is written as the kernel writes it: it reads back.
TEST(ConntrackCodec, NamesTheEntryThatItDeletes) {
  Message message = encode_flow_delete(flow4());
  ASSERT_TRUE(message.complete());
  const Attributes attributes = Attributes::of(*message.header(), sizeof(nfgenmsg));
  EXPECT_EQ(attributes.be32(CTA_ID), flow4().id);
  const auto tuple = attributes.bytes(CTA_TUPLE_ORIG);
  const auto golden = message_of(begun4);
  const auto theirs = Attributes::of(golden[0], sizeof(nfgenmsg)).bytes(CTA_TUPLE_ORIG);
  EXPECT_TRUE(std::ranges::equal(tuple, theirs));
}

TEST(ConntrackCodec, MarksUnderAMask) {
  Message message = encode_flow_mark(flow4(), Mark{0x04000000, 0x0c000000});
  ASSERT_TRUE(message.complete());
  const Attributes attributes = Attributes::of(*message.header(), sizeof(nfgenmsg));
  EXPECT_EQ(attributes.be32(CTA_MARK), 0x04000000U);
  EXPECT_EQ(attributes.be32(CTA_MARK_MASK), 0x0c000000U);
  EXPECT_EQ(message.header()->nlmsg_flags & (NLM_F_CREATE | NLM_F_EXCL), 0);
}

// The program itself is tried by the kernel in conntrack_namespace_test; this is its form.
TEST(ConntrackCodec, JumpsOfTheFilterStayInside) {
  const auto program = flow_filter(Mark{0x08000000, 0x09000000});
  ASSERT_GE(program.size(), 3U);
  EXPECT_EQ(program[program.size() - 2].k, 0U);
  EXPECT_EQ(program.back().k, 0xffffffffU);
  for (std::size_t at = 0; at < program.size(); ++at)
    if (BPF_CLASS(program[at].code) == BPF_JMP) {
      EXPECT_LT(at + 1 + program[at].jt, program.size());
      EXPECT_LT(at + 1 + program[at].jf, program.size());
    }
}

}  // namespace
}  // namespace oceanid::routing
