#include "routing/core/diff.hpp"
#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"
#include "tests/fakes/sample_state.hpp"

#include <gmock/gmock.h>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

TEST(RuleCodec, ReadsBackWhatItWrites) {
  std::vector<Rule> rules = sample_state().rules;
  Rule six = rule(5123, Blackhole{});
  six.family = Family::v6;
  six.from = prefix("2001:db8:1::/48");
  six.to = prefix("2001:db8::1/128");
  six.oif = device("oc-two");
  rules.push_back(six);
  Rule specific = rule(32764, Lookup{254, true});
  specific.mark = Mark{0, 0x01000000};
  rules.push_back(specific);
  for (const Rule& wanted : rules) {
    const Message message = encode_add_rule(wanted);
    ASSERT_TRUE(message.complete());
    const auto decoded = decode_rule(*message.header());
    ASSERT_TRUE(decoded);
    EXPECT_TRUE(decoded->exact);
    EXPECT_EQ(to_string(decoded->rule), to_string(wanted));
    EXPECT_EQ(decoded->rule, wanted);
  }
}

TEST(RuleCodec, LeavesRulesOfOthersAlone) {
  Message message = encode_add_rule(rule(5100, Nop{}));
  auto* at = static_cast<std::uint8_t*>(
      mnl_nlmsg_get_payload_offset(message.header(), sizeof(fib_rule_hdr)));
  // second attribute: FRA_PRIORITY takes 8 bytes, then the header of FRA_PROTOCOL
  ASSERT_EQ(at[12], route_protocol);
  at[12] = 4;
  EXPECT_FALSE(decode_rule(*message.header()));
}

TEST(RuleCodec, SaysWhenARuleIsMoreThanItCanExpress) {
  Message message = encode_add_rule(rule(5100, Lookup{13128}));
  message.put_u32(FRA_SUPPRESS_PREFIXLEN, 0xffffffff);
  EXPECT_TRUE(decode_rule(*message.header())->exact);
  message.put_u32(FRA_TUN_ID, 1);
  EXPECT_FALSE(decode_rule(*message.header())->exact);
  Message longer = encode_add_rule(rule(5100, Lookup{13128}));
  longer.put_u32(FRA_SUPPRESS_PREFIXLEN, 8);
  EXPECT_FALSE(decode_rule(*longer.header())->exact);
}

TEST(RouteCodec, ReadsBackWhatItWrites) {
  std::vector<Route> routes = sample_state().routes;
  Route by_gateway = open_default(Family::v4, 254, "eth0");
  by_gateway.gateway = address("192.0.2.1");
  by_gateway.on_link = true;
  by_gateway.source = address("192.0.2.9");
  by_gateway.mtu = 1400;
  Route across = open_default(Family::v4, 13129, "eth0");
  across.gateway = address("2001:db8::1");
  Route six = open_default(Family::v6, 13129, "eth0");
  six.destination = prefix("2001:db8:7::/64");
  six.type = RouteType::blackhole;
  six.device.reset();
  Route here = open_default(Family::v4, 13133, "lo");
  here.type = RouteType::local;
  routes.insert(routes.end(), {by_gateway, across, six, here});
  for (Route wanted : routes) {
    const Message message = encode_route(RouteAction::add, wanted, wanted.device ? 7 : 0);
    ASSERT_TRUE(message.complete());
    const auto decoded = decode_route(*message.header());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->protocol, route_protocol);
    EXPECT_EQ(decoded->device, wanted.device ? 7U : 0U);
    wanted.device.reset();
    EXPECT_EQ(to_string(decoded->route), to_string(wanted));
    EXPECT_EQ(decoded->route, wanted);
  }
}

TEST(RouteCodec, ReplacesInOneMessage) {
  const Route route = open_default(Family::v4, 13128, "oc-one");
  const auto flags = [&](RouteAction action) {
    return encode_route(action, route, 7).header()->nlmsg_flags &
           (NLM_F_REPLACE | NLM_F_EXCL | NLM_F_CREATE);
  };
  EXPECT_EQ(flags(RouteAction::replace), NLM_F_REPLACE | NLM_F_CREATE);
  EXPECT_EQ(flags(RouteAction::add), NLM_F_EXCL | NLM_F_CREATE);
  EXPECT_EQ(encode_route(RouteAction::remove, route, 7).header()->nlmsg_type, RTM_DELROUTE);
}

TEST(AddressCodec, ReadsBackWhatItWrites) {
  for (const char* text : {"10.99.0.3", "2001:db8::3"}) {
    const InterfaceAddress wanted{address(text), 30};
    const auto decoded = decode_address(*encode_address(true, 9, wanted).header());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->facts.local, wanted);
    EXPECT_EQ(decoded->facts.network, network_of(wanted.address, 30));
    EXPECT_EQ(decoded->device, 9U);
    EXPECT_FALSE(decoded->facts.link_local);
  }
}

TEST(AddressCodec, TellsTheOtherEndOfAPointToPointLink) {
  Message message(RTM_NEWADDR, 0);
  auto& head = message.extra<ifaddrmsg>();
  head.ifa_family = AF_INET;
  head.ifa_prefixlen = 24;
  message.put(IFA_LOCAL, address("10.1.0.1").bytes());
  message.put(IFA_ADDRESS, address("192.0.2.77").bytes());
  const auto decoded = decode_address(*message.header());
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->facts.local.address, address("10.1.0.1"));
  EXPECT_EQ(decoded->facts.network, prefix("192.0.2.0/24"));
}

TEST(NetworkOf, ClearsHostBitsAtEveryLength) {
  for (unsigned length = 0; length <= 128; ++length) {
    const Prefix made = network_of(address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"), length);
    EXPECT_EQ(made.length(), length);
    EXPECT_TRUE(Prefix::parse(made.to_string()).has_value()) << made.to_string();
  }
  EXPECT_EQ(network_of(address("10.42.7.9"), 20), prefix("10.42.0.0/20"));
}

// Whatever arrives, the decoders stay inside the message; a sanitizer build proves it.
TEST(Codecs, SurviveEveryCutAndEveryFlippedByte) {
  const Message messages[] = {encode_add_rule(sample_state().rules[1]),
                              encode_route(RouteAction::add, sample_state().routes.back(), 7),
                              encode_address(true, 9, {address("2001:db8::3"), 64}),
                              encode_set_link(3, 1400, true)};
  const auto decode_all = [](const nlmsghdr& message) {
    const bool any = decode_rule(message) || decode_route(message) || decode_link(message) ||
                     decode_address(message);
    return any;
  };
  int understood = 0;
  for (const Message& message : messages) {
    const auto length = message.header()->nlmsg_len;
    for (std::uint32_t cut = sizeof(nlmsghdr); cut < length; ++cut) {
      // exactly as long as it says, so that reading on is reading outside
      std::vector<nlmsghdr> space((cut + sizeof(nlmsghdr) - 1) / sizeof(nlmsghdr));
      std::memcpy(space.data(), message.header(), cut);
      space.front().nlmsg_len = cut;
      understood += decode_all(space.front());
    }
    for (std::uint32_t at = sizeof(nlmsghdr); at < length; ++at)
      for (const int bit : {0x01, 0x10, 0x80, 0xff}) {
        std::vector<nlmsghdr> space((length + sizeof(nlmsghdr) - 1) / sizeof(nlmsghdr));
        std::memcpy(space.data(), message.header(), length);
        reinterpret_cast<std::uint8_t*>(space.data())[at] ^= static_cast<std::uint8_t>(bit);
        understood += decode_all(space.front());
      }
  }
  EXPECT_GT(understood, 100);
}

TEST(Message, MarksWhatDoesNotFit) {
  Message message(RTM_NEWLINK, 0);
  const std::vector<std::uint8_t> much(600);
  message.put(1, much);
  EXPECT_TRUE(message.complete());
  message.put(1, much);
  EXPECT_FALSE(message.complete());
}

}  // namespace
}  // namespace oceanid::routing
