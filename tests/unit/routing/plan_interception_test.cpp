// What holds for every plan with transparent interception.

#include "plan_inputs.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/marks.hpp"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

// The position of a rule in the chain, or npos.
std::size_t place_of(const NetworkState& state, std::string_view chain, std::string_view rule) {
  const auto begin = state.nft.text.find(std::string("  chain ").append(chain).append(" {"));
  if (begin == std::string::npos) return begin;
  const auto at = state.nft.text.find(rule, begin);
  return at < state.nft.text.find("\n  }\n", begin) ? at : std::string::npos;
}

TEST(PlanInterception, ExceptionsComeBeforeTheFirstRedirect) {
  const NetworkState state = plan(examples::intercepting());
  const auto redirect = place_of(state, "intercept", "redirect to :3130");
  ASSERT_NE(redirect, std::string::npos) << state.nft.text;
  for (const char* exception :
       {"iifname != \"cni0\" return", "meta mark & 0x01000000 == 0x01000000 return",
        "fib daddr type { local, broadcast, anycast, multicast } return",
        "ip daddr @direct4 return", "ip6 daddr @direct6 return"})
    EXPECT_LT(place_of(state, "intercept", exception), redirect) << exception;
}

TEST(PlanInterception, WithoutRoutingOnlyLoopbackAndTunnelsAreLeftOut) {
  const NetworkState state = plan(examples::intercepting_only());
  EXPECT_LT(place_of(state, "intercept", "iifname { \"lo\", \"oc-*\" } return"),
            place_of(state, "intercept", "redirect to :3130"));
  EXPECT_TRUE(state.rules.empty() && state.routes.empty() && state.sysctls.empty());
}

// The reverse look-up for what is delivered here, and an answer's own, run with iif = lo.
TEST(PlanInterception, WhatIsTakenAsItIsIsDeliveredHereAndAnswersAreNot) {
  for (const auto& in : {examples::assigning(), examples::assigning_only()}) {
    const NetworkState state = plan(in);
    const Mark taken = mark_bits(RoutingSettings().mark).taken;
    for (const Family family : {Family::v4, Family::v6}) {
      const auto first = std::ranges::find_if(state.rules, [&](const Rule& rule) {
        return rule.family == family && rule.mark == taken;
      });
      ASSERT_NE(first, state.rules.end());
      const bool pods = in.routing.has_value();
      EXPECT_EQ(first->iif->str(), pods ? "cni0" : "lo");
      const Rule& deliver = pods ? *first : *std::next(first);
      const auto* look_up = std::get_if<Lookup>(&deliver.action);
      ASSERT_NE(look_up, nullptr) << to_string(deliver);
      EXPECT_TRUE(std::ranges::any_of(state.routes, [&](const Route& route) {
        return route.table == look_up->table && route.type == RouteType::local &&
               route.family == family && route.destination.length() == 0;
      }));
    }
  }
}

// What is drained carries both bits, too, and takes an exit.
TEST(PlanInterception, ATakenPacketIsNeitherCarriedNorDrained) {
  const MarkBits bits = mark_bits(RoutingSettings().mark);
  const auto has = [](const Mark& mark, std::uint32_t value) {
    return (value & mark.mask) == mark.value;
  };
  EXPECT_TRUE(has(bits.taken, bits.intercepted.value));
  EXPECT_FALSE(has(bits.taken, bits.draining.value));
  EXPECT_FALSE(has(bits.taken, bits.carried.value));
  const NetworkState state = plan(examples::assigning());
  const auto left_alone = place_of(state, "pre", "ct mark & 0x0a000000 == 0x02000000 return");
  ASSERT_NE(left_alone, std::string::npos) << state.nft.text;
  EXPECT_LT(left_alone, place_of(state, "pre", "goto marks_of_pods"));
}

TEST(PlanInterception, ATakenConnectionIsNeverForwardedWhateverItsState) {
  const NetworkState state = plan(examples::assigning());
  const auto refused =
      place_of(state, "around_listeners", "ct mark & 0x0a000000 == 0x02000000 meta l4proto tcp");
  ASSERT_NE(refused, std::string::npos) << state.nft.text;
  EXPECT_LT(refused, place_of(state, "around_listeners", "ct state != { established, related }"));
}

TEST(PlanInterception, PrivateSourcesAreLeftToEachOtherAndPublicOnesAreTheInternet) {
  const NetworkState state = plan(examples::intercepting_only());
  const auto set = std::ranges::find(state.nft.sets, "direct4", &NamedSet::name);
  ASSERT_NE(set, state.nft.sets.end());
  const auto holds = [&](const char* text) {
    return std::ranges::find(set->prefixes, Prefix::parse(text).value()) != set->prefixes.end();
  };
  EXPECT_TRUE(holds("10.9.1.0/24"));
  EXPECT_FALSE(holds("198.51.100.0/24"));
}

TEST(PlanInterception, WhatGoesAroundIsRefusedForBothFamiliesAndProtocols) {
  const NetworkState state = plan(examples::intercepting());
  for (const char* refused :
       {"ip saddr { 10.42.0.0/24 } tcp dport { 80, 443 } ct state != { established, related }",
        "ip6 saddr { fd42::/64 } tcp dport { 80, 443 } ct state != { established, related }",
        "ip saddr { 10.42.0.0/24 } udp dport { 80, 443 } counter",
        "ip6 saddr { fd42::/64 } udp dport { 80, 443 } counter"})
    EXPECT_NE(place_of(state, "around_listeners", refused), std::string::npos) << refused;
}

TEST(PlanInterception, TheGuardAtBootHasItToo) {
  EXPECT_NE(place_of(guard_plan(examples::intercepting()), "intercept", "redirect to :3130"),
            std::string::npos);
}

}  // namespace
}  // namespace oceanid::routing
