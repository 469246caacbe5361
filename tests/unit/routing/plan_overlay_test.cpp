// The overlay's part of the plan: which rules, routes and clauses carry pods of one node to
// another.

#include "plan_inputs.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/flow_scope.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using examples::address;
using examples::prefix;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint32_t table = 13132;  // two exits: 13128, +1, +2, return, overlay

std::vector<std::string> rules(const NetworkState& state, std::uint32_t priority) {
  std::vector<std::string> out;
  for (const Rule& rule : state.rules)
    if (rule.priority == priority) out.push_back(to_string(rule));
  return out;
}

std::vector<std::string> routes_to(const NetworkState& state, std::string_view destination,
                                   std::uint32_t in = table) {
  std::vector<std::string> out;
  for (const Route& route : state.routes)
    if (route.table == in && route.destination == prefix(destination))
      out.push_back(to_string(route));
  return out;
}

TEST(PlanOverlay, OffLeavesPodsToTheCni) {
  Inputs in = examples::overlay_worker();
  in.overlay = false;
  const NetworkState state = plan(in);
  for (const std::uint32_t priority : {5108U, 5121U, 5145U})
    EXPECT_THAT(rules(state, priority), IsEmpty()) << priority;
  for (const Route& route : state.routes)
    EXPECT_NE(route.table, table) << to_string(route);
}

TEST(PlanOverlay, PodsMeetItBeforeTheBypass) {
  const NetworkState state = plan(examples::overlay_worker());
  EXPECT_THAT(rules(state, 5145), Contains("5145: from all to 10.42.3.0/24 iif cni0 lookup 13132"));
  EXPECT_THAT(rules(state, 5150), Contains("5150: from all to 10.42.0.0/16 iif cni0 goto 5190"));
}

TEST(PlanOverlay, MainHasNothingOfIt) {
  for (const Route& route : plan(examples::overlay_exit()).routes)
    EXPECT_GE(route.table, 13128U) << to_string(route);
}

TEST(PlanOverlay, WhatIsBehindARelayTakesItsTunnel) {
  EXPECT_THAT(routes_to(plan(examples::overlay_worker()), "10.42.3.0/24"),
              ElementsAre("10.42.3.0/24 dev oc-tethys table 13132 metric 10",
                          "unreachable 10.42.3.0/24 table 13132 metric 4294967295"));
}

// With the device gone the kernel drops its routes: what stays must not let the packet go on.
TEST(PlanOverlay, EveryPrefixEndsUnreachableAndNoneIsADefault) {
  for (const Inputs& in : {examples::overlay_worker(), examples::overlay_exit()}) {
    const NetworkState state = plan(in);
    std::size_t found = 0;
    for (const Route& route : state.routes) {
      if (route.table != table) continue;
      ++found;
      EXPECT_NE(route.destination.length(), 0U);
      const auto ends = [&](const Route& last) {
        return last.table == table && last.destination == route.destination &&
               last.type == RouteType::unreachable && last.metric == 4294967295U;
      };
      EXPECT_TRUE(std::ranges::any_of(state.routes, ends)) << to_string(route);
    }
    EXPECT_GT(found, 4U);
  }
}

TEST(PlanOverlay, AnOwnDeviceComesBeforeTheHub) {
  EXPECT_THAT(routes_to(plan(examples::overlay_exit()), "10.42.2.0/24"),
              ElementsAre("10.42.2.0/24 dev oc-meliae table 13132 metric 10",
                          "10.42.2.0/24 dev oc-hub table 13132 metric 20 mtu 1420",
                          "unreachable 10.42.2.0/24 table 13132 metric 4294967295"));
}

TEST(PlanOverlay, ALinkTooSmallForIpv6GetsNoneOfItsRoutes) {
  Inputs in = examples::overlay_exit();
  for (TunnelLink& link : in.links)
    link.mtu = 1232;
  EXPECT_THAT(routes_to(plan(in), "fd42:3::/64"),
              ElementsAre("unreachable fd42:3::/64 table 13132 metric 4294967295 (ipv6)"));
}

// Behind everybody's rules, for the moment in which somebody deleted ours.
TEST(PlanOverlay, MainsDefaultIsClosedToItsDestinationsEvenWithoutTheKillSwitch) {
  Inputs in = examples::overlay_worker();
  in.routing->kill_switch = false;
  const NetworkState state = plan(in);
  EXPECT_THAT(rules(state, 32764),
              Contains("32764: from all to 10.42.3.0/24 iif cni0 fwmark 0x00000000/0x01000000 "
                       "lookup 254 suppress_prefixlength 0"));
  EXPECT_THAT(rules(state, 32765),
              Contains("32765: from all to 10.42.3.0/24 iif cni0 fwmark 0x00000000/0x01000000 "
                       "unreachable"));
}

std::string chain(const NetworkState& state, const std::string& name) {
  const auto begin = state.nft.text.find("  chain " + name + " {");
  return begin == std::string::npos
             ? std::string()
             : state.nft.text.substr(begin, state.nft.text.find("\n  }\n", begin) - begin);
}

TEST(PlanOverlay, NothingOfItLeavesByAnUplink) {
  for (const bool kill_switch : {true, false}) {
    Inputs in = examples::overlay_worker();
    in.routing->kill_switch = kill_switch;
    const NetworkState state = plan(in);
    EXPECT_THAT(chain(state, "from_pods"),
                HasSubstr("oifname \"eth0\" ip daddr @overlay4 counter name leak_blocked reject"));
    EXPECT_THAT(chain(state, "last_line"),
                HasSubstr("oifname \"eth0\" meta mark & 0x04000000 != 0x04000000 "
                          "ip daddr @overlay4 goto refuse_untranslated"));
  }
  EXPECT_THAT(chain(guard_plan(examples::overlay_worker()), "last_line"),
              HasSubstr("@overlay4 goto refuse_untranslated"))
      << "from boot on";
}

TEST(PlanOverlay, ARelaySendsToPeersWithATunnelOnly) {
  const NetworkState state = plan(examples::overlay_worker());
  EXPECT_THAT(chain(state, "from_tunnel"), HasSubstr("oifname \"oc-*\" goto relay"));
  EXPECT_THAT(chain(state, "relay"), HasSubstr("ip daddr @relay4 goto known_peers"));
  const auto set = std::ranges::find(state.nft.sets, "relay4", &NamedSet::name);
  ASSERT_NE(set, state.nft.sets.end());
  EXPECT_THAT(set->prefixes, Contains(prefix("10.42.2.0/24")));
  EXPECT_THAT(set->prefixes, Not(Contains(prefix("10.42.3.0/24"))))
      << "it is behind a relay itself";
  EXPECT_THAT(chain(state, "known_peers"),
              HasSubstr("iifname \"oc-tethys\" ip saddr { 10.42.0.0/24, "
                        "10.42.3.0/24, 10.99.0.1, 10.99.0.4 } return"))
      << "and comes out of the relay's tunnel";
}

TEST(PlanOverlay, WithoutItNoTunnelLeadsToAnother) {
  for (const auto& [what, in] : examples::all()) {
    if (in.overlay) continue;
    EXPECT_THAT(plan(in).nft.text, Not(HasSubstr("goto relay"))) << what;
    EXPECT_THAT(rules(plan(in), 5121), IsEmpty()) << what;
  }
}

TEST(PlanOverlay, ARelayForwardsWithoutPodsAndWithoutBeingAnExit) {
  const NetworkState state = plan(examples::overlay_relay());
  EXPECT_THAT(rules(state, 5121), ElementsAre("5121: from all iif oc-hub lookup 13130"));
  EXPECT_THAT(state.sysctls, Contains(Sysctl{"net/ipv4/ip_forward", "1"}));
  EXPECT_THAT(state.sysctls, Not(Contains(Sysctl{"net/ipv6/conf/all/forwarding", "1"})));
  EXPECT_THAT(plan(examples::overlay_exit()).sysctls,
              Contains(Sysctl{"net/ipv6/conf/all/forwarding", "1"}));
}

TEST(PlanOverlay, AddressesAreKept) {
  const std::string translate = chain(plan(examples::overlay_exit()), "translate");
  EXPECT_THAT(translate, HasSubstr("oifname \"oc-*\" ip saddr @sources4 snat ip to ip saddr"));
  EXPECT_THAT(translate, HasSubstr("oifname \"oc-*\" ip saddr @peers4 snat ip to ip saddr"));
  EXPECT_THAT(translate, HasSubstr("oifname \"oc-*\" ip6 saddr @peers6 snat ip6 to ip6 saddr"));
}

TEST(PlanOverlay, IgnoredIpv6StaysWithTheCni) {
  Inputs in = examples::overlay_exit();
  in.routing->ipv6 = Ipv6Mode::ignore;
  const NetworkState state = plan(in);
  EXPECT_THAT(state.nft.text, Not(HasSubstr("@overlay6")));
  for (const std::uint32_t priority : {5108U, 5145U})
    EXPECT_THAT(rules(state, priority), Not(Contains(HasSubstr("ipv6")))) << priority;
  EXPECT_THAT(rules(state, 5121), Contains(HasSubstr("ipv6"))) << "others' is relayed";
}

TEST(PlanOverlay, PinnedPodsReachItByWhicheverTunnelItTakes) {
  Inputs in = examples::selecting_worker();
  in.overlay = true;
  EXPECT_THAT(chain(plan(in), "pods_into_tunnel"), HasSubstr("ip daddr @overlay4 return"));
  const std::string text = chain(plan(in), "pinned");
  EXPECT_LT(text.find("ip daddr @overlay4 return"), text.find("leak_blocked")) << text;
  EXPECT_THAT(chain(plan(in), "select"), HasSubstr("ip daddr @overlay4 return"));
}

// A switch of the exit resets what went by it; pods' own conversations go on.
TEST(PlanOverlay, ItsConnectionsDoNotFollowTheExit) {
  const Inputs in = examples::overlay_worker();
  const FlowScope scope(plan(in), *in.routing);
  Flow flow;
  flow.original.source = address("10.42.1.11");
  flow.original.protocol = 6;
  flow.reply.source_port = 443;
  flow.reply.source = address("10.42.3.11");
  EXPECT_FALSE(scope.follows_active(flow));
  flow.reply.source = address("192.0.2.10");
  EXPECT_TRUE(scope.follows_active(flow));
}

}  // namespace
}  // namespace oceanid::routing
