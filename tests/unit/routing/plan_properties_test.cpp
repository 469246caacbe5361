// What holds for every plan, whatever the node, the active exit and the devices that exist.

#include "plan_inputs.hpp"
#include "routing/core/diff.hpp"
#include "routing/core/marks.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

// Every example with every active exit (and none), with all devices present and with none.
std::vector<std::pair<std::string, Inputs>> variations() {
  std::vector<std::pair<std::string, Inputs>> out;
  for (const auto& [example, base] : examples::all())
    for (const bool present : {true, false}) {
      Inputs in = base;
      for (ExitPath& exit : in.exits)
        exit.present = present;
      in.active.reset();
      out.emplace_back(example + (present ? "" : "/absent") + "/none", in);
      for (std::size_t i = 0; i < in.exits.size(); ++i) {
        in.active = i;
        out.emplace_back(example + (present ? "" : "/absent") + "/" + std::to_string(i), in);
      }
    }
  return out;
}

std::vector<Route> defaults(const NetworkState& state, Family family, std::uint32_t table,
                            RouteType type) {
  std::vector<Route> out;
  std::ranges::copy_if(state.routes, std::back_inserter(out), [&](const Route& route) {
    return route.family == family && route.table == table && route.type == type &&
           route.destination.length() == 0;
  });
  return out;
}

TEST(PlanProperties, EqualInputsGiveEqualStates) {
  for (const auto& [what, in] : variations())
    EXPECT_EQ(plan(in), plan(Inputs(in))) << what;
}

TEST(PlanProperties, EveryRuleHasAPreferenceOfOurs) {
  for (const auto& [what, in] : variations())
    for (const Rule& rule : plan(in).rules) {
      if (rule.priority == 32764 || rule.priority == 32765) continue;
      EXPECT_GE(rule.priority, 5100U) << what;
      EXPECT_LE(rule.priority, 5190U) << what;
    }
}

bool is_jump(const Rule& rule) {
  const std::uint32_t offset = rule.priority - 5100;
  return (offset >= 1 && offset <= 3) || offset == 13;
}

TEST(PlanProperties, EveryGotoEndsAtTheLastRuleOfItsFamilyOrIsAJump) {
  for (const auto& [what, in] : variations()) {
    const NetworkState state = plan(in);
    for (const Rule& rule : state.rules) {
      const auto* jump = std::get_if<Goto>(&rule.action);
      if (jump == nullptr) continue;
      const auto leads_to = [&](const Rule& end) {
        return end.family == rule.family && end.priority == jump->priority;
      };
      EXPECT_TRUE(std::ranges::any_of(state.rules, leads_to)) << what;
      if (is_jump(rule)) continue;
      EXPECT_EQ(jump->priority, 5190U) << what;
    }
  }
}

// A jump passes over nothing that a packet of its interface could have matched.
TEST(PlanProperties, AJumpChangesNoWay) {
  std::size_t jumps = 0;
  for (const auto& [what, in] : variations()) {
    const NetworkState state = plan(in);
    for (const Rule& rule : state.rules) {
      if (!is_jump(rule)) continue;
      ++jumps;
      const auto* jump = std::get_if<Goto>(&rule.action);
      ASSERT_NE(jump, nullptr) << what;
      for (const Rule& passed : state.rules) {
        if (passed.family != rule.family || passed.priority <= rule.priority ||
            passed.priority >= jump->priority || is_jump(passed))
          continue;
        const bool other = passed.iif && passed.iif != rule.iif;
        const bool bound = passed.oif && rule.iif != IfName::parse("lo").value();
        EXPECT_TRUE(other || bound) << what << ": " << rule.priority << " over " << passed.priority;
      }
    }
  }
  EXPECT_GT(jumps, 0U);
}

TEST(PlanProperties, NoRuleLooksUpASystemTable) {
  for (const auto& [what, in] : variations())
    for (const Rule& rule : plan(in).rules)
      if (const auto* look_up = std::get_if<Lookup>(&rule.action); look_up && !look_up->specific) {
        EXPECT_GT(look_up->table, 255U) << what;
      }
}

// Behind everybody else's rules: main's own routes, then nothing. Answers of inbound connections
// (EXEMPT) take main's default, whatever private address asked.
TEST(PlanProperties, ClusterDestinationsNeverMeetMainsDefault) {
  for (const auto& [what, in] : variations()) {
    if (!in.routing || !in.routing->kill_switch) continue;
    const std::vector<Rule> rules = plan(in).rules;
    for (const Rule& bypass : rules) {
      if (bypass.priority != 5150 || bypass.to != Prefix::parse("10.43.0.0/16").value()) continue;
      Rule last = bypass;
      last.mark = Mark{0, 0x01000000};
      last.priority = 32764;
      last.action = Lookup{254, true};
      EXPECT_NE(std::ranges::find(rules, last), rules.end()) << what;
      last.priority = 32765;
      last.action = Unreachable{};
      EXPECT_NE(std::ranges::find(rules, last), rules.end()) << what;
    }
  }
}

std::uint32_t overlay_table(const Inputs& in) {
  return 13128 + 2 + static_cast<std::uint32_t>(in.exits.size());
}

TEST(PlanProperties, EveryTableThatIsLookedUpEndsUnreachable) {
  for (const auto& [what, in] : variations()) {
    const NetworkState state = plan(in);
    for (const Rule& rule : state.rules) {
      const auto* look_up = std::get_if<Lookup>(&rule.action);
      if (look_up == nullptr || look_up->specific) continue;
      if (in.overlay && look_up->table == overlay_table(in)) continue;  // see PlanOverlay
      const auto last = defaults(state, rule.family, look_up->table, RouteType::unreachable);
      ASSERT_EQ(last.size(), 1U) << what << " table " << look_up->table;
      EXPECT_EQ(last[0].metric, 4294967295U) << what;
    }
  }
}

TEST(PlanProperties, TheEgressTableHasTheActiveExitAndNothingElse) {
  for (const auto& [what, in] : variations()) {
    if (!in.routing) continue;
    const NetworkState state = plan(in);
    const auto found = defaults(state, Family::v4, 13128, RouteType::unicast);
    const bool expected = in.active && in.exits[*in.active].present;
    ASSERT_EQ(found.size(), expected ? 1U : 0U) << what;
    if (expected) {
      EXPECT_EQ(found[0].device, in.exits[*in.active].device) << what;
    }
    for (const Route& route : state.routes) {
      if (route.table == 13128) {
        EXPECT_EQ(route.destination.length(), 0U) << what;
      }
    }
  }
}

TEST(PlanProperties, ASwitchChangesRoutesOfTheEgressTableOnly) {
  for (const auto& [example, base] : examples::all()) {
    if (base.exits.size() < 2 || !base.routing) continue;
    Inputs other = base;
    other.active = (*base.active + 1) % base.exits.size();
    NetworkState before = plan(base);
    NetworkState after = plan(other);
    EXPECT_NE(before.routes, after.routes) << example;
    const auto elsewhere = [](const Route& route) { return route.table == 13128; };
    std::erase_if(before.routes, elsewhere);
    std::erase_if(after.routes, elsewhere);
    EXPECT_EQ(before, after) << example;
  }
}

// Before a planned switch: one rule in front of the steering, nothing else.
TEST(PlanProperties, DrainingAnExitIsOneRuleForEachSource) {
  Inputs in = examples::styx();
  const NetworkState before = plan(in);
  in.draining = 1;
  NetworkState state = plan(in);
  std::vector<Rule> more;
  std::ranges::set_difference(state.rules, before.rules, std::back_inserter(more));
  ASSERT_EQ(more.size(), 1U);
  EXPECT_EQ(to_string(more[0]),
            "5155: from 10.42.1.0/24 iif cni0 fwmark 0x0a000000/0x0a000000 lookup 13130");
  state.rules = before.rules;
  EXPECT_EQ(state, before);
}

TEST(PlanProperties, OnlyPodsThatMayBeResetHaveASetForIt) {
  EXPECT_THAT(plan(examples::styx()).nft.text, HasSubstr("set reset4"));
  EXPECT_THAT(plan(examples::styx()).nft.text, Not(HasSubstr("set reset6")));
  EXPECT_THAT(plan(examples::dual_stack()).nft.text, HasSubstr("set reset6"));
  EXPECT_THAT(plan(examples::exit_without_pods()).nft.text, Not(HasSubstr("set reset")));
}

TEST(PlanProperties, NftDependsOnNeitherTheActiveExitNorItsDevice) {
  for (const auto& [what, in] : variations()) {
    const std::string example = what.substr(0, what.find('/'));
    EXPECT_EQ(plan(in).nft, plan(examples::all().at(example)).nft) << what;
  }
}

TEST(PlanProperties, WithTheKillSwitchPodsAreCaughtWithoutAnExit) {
  for (const auto& [what, in] : variations()) {
    if (!in.routing || !in.routing->kill_switch || in.active) continue;
    const NetworkState state = plan(in);
    EXPECT_TRUE(std::ranges::any_of(state.rules, [&](const Rule& rule) {
      const auto* look_up = std::get_if<Lookup>(&rule.action);
      return rule.iif == in.routing->interfaces[0] && rule.from == in.routing->sources[0] &&
             look_up != nullptr && look_up->table == 13128;
    })) << what;
  }
}

TEST(PlanProperties, WithoutTheKillSwitchPodsAreLeftAloneWithoutAnExit) {
  Inputs in = examples::open_worker();
  in.active.reset();
  for (const Rule& rule : plan(in).rules)
    EXPECT_NE(rule.priority, 5160U) << "steered into a table without an exit";
  in.active = 0;
  EXPECT_TRUE(
      std::ranges::any_of(plan(in).rules, [](const Rule& rule) { return rule.priority == 5160; }));
}

TEST(PlanProperties, IgnoredIpv6MeetsNoRuleOfOurs) {
  Inputs in = examples::styx();
  in.routing->sources.push_back(Prefix::parse("fd42:1::/64").value());
  EXPECT_NE(plan(in).nft.text.find("@sources6"), std::string::npos);
  in.routing->ipv6 = Ipv6Mode::ignore;
  EXPECT_EQ(plan(in).nft.text.find("@sources6"), std::string::npos);
}

// What this node translates itself leaves only with the mark that our ruleset sets.
TEST(PlanProperties, ForwardingToTheUplinkNeedsOurMark) {
  const MarkBits bits = mark_bits(RoutingSettings().mark);
  for (const auto& [what, in] : variations()) {
    const bool self =
        std::ranges::any_of(in.exits, [](const ExitPath& exit) { return !exit.tunnel; });
    for (const Rule& rule : plan(in).rules) {
      if (rule.priority == 5160 && self && std::holds_alternative<Lookup>(rule.action)) {
        EXPECT_EQ(rule.mark, bits.carried) << what;
      }
      if (rule.priority == 5122) {
        EXPECT_EQ(rule.mark, bits.carried) << what;
      }
    }
  }
}

TEST(PlanProperties, WhatATunnelBringsMeetsAnUnreachableRule) {
  for (const auto& [what, in] : variations()) {
    const NetworkState state = plan(in);
    for (const TunnelLink& link : in.links)
      for (const Family family : {Family::v4, Family::v6})
        EXPECT_TRUE(std::ranges::any_of(state.rules,
                                        [&](const Rule& rule) {
                                          return rule.family == family && rule.iif == link.name &&
                                                 !rule.from && !rule.to && !rule.mark &&
                                                 std::holds_alternative<Unreachable>(rule.action);
                                        }))
            << what << " " << link.name.str();
  }
}

TEST(PlanProperties, NothingConfiguredIsNothingDesired) {
  EXPECT_EQ(plan(Inputs{}), NetworkState{});
}

TEST(PlanProperties, TheGuardHasNoDeviceAndNoSysctl) {
  for (const auto& [what, in] : variations()) {
    const NetworkState state = guard_plan(in);
    EXPECT_TRUE(state.links.empty()) << what;
    EXPECT_TRUE(state.sysctls.empty()) << what;
    EXPECT_TRUE(defaults(state, Family::v4, 13128, RouteType::unicast).empty()) << what;
    Inputs without_marks = in;
    if (without_marks.routing) without_marks.routing->exempt4 = without_marks.routing->exempt6 = {};
    EXPECT_EQ(state.nft, plan(without_marks).nft) << what;
  }
}

TEST(PlanMarks, BitsCountFromTheLowestOfTheMask) {
  const MarkBits bits = mark_bits(Mark{0x00100000, 0x00f00000});
  EXPECT_EQ(bits.exempt, (Mark{0x00100000, 0x00100000}));
  EXPECT_EQ(bits.underlay, (Mark{0x00400000, 0x00400000}));
  EXPECT_EQ(bits.carried, (Mark{0x00800000, 0x00800000}));
  EXPECT_EQ(bits.draining, (Mark{0x00a00000, 0x00a00000}));
}

TEST(PlanLinks, ALinkTooSmallForIpv6GetsNoIpv6Address) {
  Inputs in = examples::dual_stack();
  for (TunnelLink& link : in.links)
    link.mtu = 1230;
  for (const LinkState& link : plan(in).links)
    for (const InterfaceAddress& own : link.addresses)
      EXPECT_TRUE(own.address.is_v4());
}

// The lines that keep strangers from a port.
std::vector<std::string> guarding(const Inputs& in, const std::string& port) {
  std::vector<std::string> out;
  std::istringstream text(plan(in).nft.text);
  for (std::string line; std::getline(text, line);)
    if (line.find("tcp dport " + port + " ") != std::string::npos) out.push_back(line);
  return out;
}

TEST(PlanProperties, APortOnOneAddressIsGuardedThereOnly) {
  Inputs in = examples::all().at("styx");
  const std::vector<Prefix> some = {Prefix::parse("10.42.0.0/16").value()};
  const std::vector<Prefix> others = {Prefix::parse("192.168.0.0/16").value()};
  const auto loopback = IpAddress::parse("127.0.0.1").value();
  in.guarded_ports = {{5432, some, loopback}};
  const auto alone = guarding(in, "5432");
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_NE(alone[0].find("ip daddr 127.0.0.1 tcp dport 5432"), std::string::npos) << alone[0];

  // Beside one on every address neither keeps out the clients of the other.
  in.guarded_ports.push_back({5432, others, std::nullopt});
  for (const std::string& line : guarding(in, "5432"))
    if (line.find("ip saddr") != std::string::npos)
      EXPECT_NE(line.find("10.42.0.0/16, 192.168.0.0/16"), std::string::npos) << line;
  EXPECT_EQ(guarding(in, "5432").size(), 3U);
}

// The lines of a chain, without its head.
std::vector<std::string> chain_of(const std::string& nft, const std::string& chain) {
  std::vector<std::string> out;
  std::istringstream lines(nft);
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line == "  chain " + chain + " {") {
      inside = true;
    } else if (inside && line == "  }") {
      break;
    } else if (inside && line.find(" hook ") == std::string::npos) {
      out.push_back(line.substr(line.find_first_not_of(' ')));
    }
  }
  return out;
}

// The host's connections are tracked as soon as one rule asks for it. Who may send what out of a
// tunnel WireGuard decides; nobody forwards by it.
TEST(PlanProperties, TunnelsAloneTrackNoConnection) {
  const auto tracks = [](const std::string& text) {
    return text.find(" ct ") != std::string::npos || text.find("nat hook") != std::string::npos;
  };
  const NftTables nft = plan(examples::tunnels_only()).nft;
  EXPECT_FALSE(tracks(nft.text));
  EXPECT_THAT(chain_of(nft.text, "ingress"), testing::IsEmpty());
  EXPECT_THAT(
      chain_of(nft.text, "from_tunnel"),
      testing::ElementsAre("counter name ingress_refused reject with icmpx admin-prohibited"));
  EXPECT_TRUE(tracks(plan(examples::styx()).nft.text));
}

// No configuration cuts off SSH, the API server, the kubelet, etcd: whatever ports are guarded.
TEST(PlanProperties, TheOperatorsWayInComesFirst) {
  auto all = variations();
  for (auto& [what, in] : variations()) {
    for (const std::uint16_t port : {std::uint16_t{22}, std::uint16_t{6443}, std::uint16_t{10250}})
      in.guarded_ports.push_back({port, {}, std::nullopt});
    all.emplace_back(what + "/hostile", in);
  }
  const std::string ports = "{ 22, 2379-2380, 6443, 10250 }";
  std::size_t seen = 0;
  for (const auto& [what, in] : all) {
    const std::string nft = plan(in).nft.text;
    if (auto ingress = chain_of(nft, "ingress"); !ingress.empty()) {
      ++seen;
      if (ingress.front() == "ct state established,related return") ingress.erase(ingress.begin());
      EXPECT_EQ(ingress.front(), "iifname != \"oc-*\" tcp dport " + ports + " return") << what;
      EXPECT_TRUE(ingress[1].starts_with("icmpv6 type {") && ingress[1].ends_with("return"))
          << what;
      EXPECT_EQ(ingress[2], "udp sport . udp dport { 67 . 68, 547 . 546 } return") << what;
    }
    if (auto output = chain_of(nft, "own_traffic"); !output.empty()) {
      ++seen;
      // A relay tells nobody of a better way: nothing an operator's connection needs.
      std::erase_if(output, [](const auto& line) { return line.ends_with("redirect drop"); });
      const auto refused =
          std::ranges::find_if(output, [](const auto& line) { return !line.ends_with(" return"); });
      const auto let_in = std::ranges::find_if(output, [&](const auto& line) {
        return line.ends_with("tcp sport " + ports + " return");
      });
      EXPECT_LT(let_in, refused) << what;
    }
    if (const auto last = chain_of(nft, "last_line"); !last.empty()) {
      ++seen;
      for (const std::string& line : last)
        EXPECT_EQ(line.find("drop"), std::string::npos) << what;
      const auto refusal = chain_of(nft, "refuse_untranslated");
      ASSERT_EQ(refusal.size(), 2U) << what;
      EXPECT_TRUE(refusal.front().starts_with("ct direction reply tcp sport " + ports)) << what;
    }
  }
  EXPECT_GT(seen, 100U);
}

}  // namespace
}  // namespace oceanid::routing
