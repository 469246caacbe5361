#include "routing/core/diff.hpp"
#include "tests/fakes/sample_state.hpp"

#include <algorithm>
#include <random>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> texts(const Changes& changes) {
  std::vector<std::string> out;
  for (const Change& change : changes.steps)
    out.push_back(describe(change));
  return out;
}

Actual empty_host() {
  Actual out;
  out.nft.known = true;
  for (const char* name : {"oc-one", "oc-two"})
    out.links.push_back(LinkActual{device(name), false, 1420, {}});
  out.sysctls = {{"net/ipv4/conf/all/src_valid_mark", "0"},
                 {"net/ipv4/conf/oc-one/rp_filter", "0"}};
  return out;
}

// A random state over few values, so that keys collide and neighbours differ in one field.
NetworkState random_state(std::mt19937& random) {
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  NetworkState out;
  for (unsigned i = 0; i < pick(8); ++i) {
    Rule made = rule(5100 + pick(3), Nop{});
    made.family = pick(4) == 0 ? Family::v6 : Family::v4;
    if (pick(2)) made.action = Lookup{13128 + pick(2)};
    if (pick(3) == 0) made.action = Goto{5190};
    if (pick(2)) made.from = Prefix::any(made.family);
    if (pick(2)) made.iif = device("cni0");
    if (pick(2)) made.destination_port = static_cast<std::uint16_t>(pick(2));
    out.rules.push_back(made);
  }
  std::vector<Route> routes;
  for (unsigned i = 0; i < pick(8); ++i) {
    const Family family = pick(2) ? Family::v4 : Family::v6;
    Route made = pick(2) ? closed_default(family, 13128 + pick(2))
                         : open_default(family, 13128 + pick(2), pick(2) ? "oc-one" : "oc-two");
    made.metric = pick(2);
    const bool taken = std::ranges::any_of(routes, [&](const Route& other) {
      // 0 and 1024 are one metric in IPv6; this set only holds 0 and 1
      return other.family == made.family && other.table == made.table &&
             other.metric == made.metric;
    });
    if (!taken) routes.push_back(made);
  }
  out.routes = routes;
  if (pick(2)) out.links.push_back({device("oc-one"), 1400 + pick(2), {}});
  if (pick(2)) out.nft.text = sample_nft(pick(2) ? "a" : "b");
  if (pick(2)) out.offload = sample_offload(pick(2) ? "a" : "b");
  if (pick(2)) out.sysctls.push_back({"net/ipv4/ip_forward", "1", true});
  return out;
}

TEST(Diff, OfAStateAndItselfIsEmpty) {
  std::mt19937 random(20260101);
  for (int i = 0; i < 3000; ++i) {
    const NetworkState state = random_state(random);
    const Changes changes = diff(state, as_if_applied(state));
    ASSERT_TRUE(changes.empty()) << describe(changes);
    ASSERT_TRUE(changes.skipped.empty()) << describe(changes);
  }
}

TEST(Diff, OfTwoStatesMentionsNothingThatBothHave) {
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    const NetworkState before = random_state(random);
    const NetworkState after = random_state(random);
    Actual actual = as_if_applied(before);
    const Actual wanted = as_if_applied(after);
    for (const char* name : {"oc-one", "oc-two"})
      if (std::ranges::find(actual.links, device(name), &LinkActual::name) == actual.links.end())
        actual.links.push_back(LinkActual{device(name), true, 1500, {}});
    for (const Sysctl& sysctl : after.sysctls)
      actual.sysctls.try_emplace(sysctl.path, "0");
    const auto in_both = [](const auto& value, const auto& one, const auto& other) {
      return std::ranges::find(one, value) != one.end() &&
             std::ranges::find(other, value) != other.end();
    };
    for (const Change& change : diff(after, actual).steps) {
      const auto* netlink = std::get_if<NetlinkChange>(&change);
      if (!netlink) continue;
      if (const auto* c = std::get_if<AddRule>(netlink))
        EXPECT_FALSE(in_both(c->rule, actual.rules, wanted.rules));
      if (const auto* c = std::get_if<DeleteRule>(netlink))
        EXPECT_FALSE(in_both(c->rule, actual.rules, wanted.rules));
      if (const auto* c = std::get_if<AddRoute>(netlink))
        EXPECT_FALSE(in_both(c->route, actual.routes, wanted.routes));
      if (const auto* c = std::get_if<DeleteRoute>(netlink))
        EXPECT_FALSE(in_both(c->route, actual.routes, wanted.routes));
      if (const auto* c = std::get_if<ReplaceRoute>(netlink))
        EXPECT_FALSE(in_both(c->to, actual.routes, wanted.routes));
    }
  }
}

TEST(Diff, NarrowsBeforeNftAndWidensBehindIt) {
  const auto with = [](unsigned mtu, std::string_view nft) {
    NetworkState out;
    out.links.push_back({device("oc-one"), mtu, {}});
    Route route = open_default(Family::v4, 13128, "oc-one");
    route.mtu = mtu;
    out.routes = {route};
    out.nft.text = sample_nft(nft);
    return out;
  };
  const NetworkState wide = with(1440, "wide");
  const NetworkState narrow = with(1312, "narrow");
  EXPECT_THAT(texts(diff(narrow, as_if_applied(wide))),
              ElementsAre("~ oc-one mtu 1312 (was 1440)", HasSubstr("mtu 1312"),
                          "~ nft tables of oceanid"));
  EXPECT_THAT(texts(diff(wide, as_if_applied(narrow))),
              ElementsAre("~ nft tables of oceanid", "~ oc-one mtu 1440 (was 1312)",
                          HasSubstr("mtu 1440")));
}

TEST(Diff, ClosesThenGuardsThenOpensThenSteers) {
  const Changes changes = diff(sample_state(), empty_host());
  EXPECT_THAT(changes.skipped, ElementsAre());
  EXPECT_THAT(
      texts(changes),
      ElementsAre("+ unreachable default table 13128 metric 4294967295",
                  "+ unreachable default table 13129 metric 4294967295",
                  "+ unreachable default table 13128 metric 4294967295 (ipv6)",
                  "~ nft tables of oceanid", "~ net.ipv4.conf.all.src_valid_mark=1 (was 0)",
                  "~ net.ipv4.conf.oc-one.rp_filter=2 (was 0)", "+ oc-one address 10.99.0.3/32",
                  "~ oc-one up", "~ oc-two mtu 1400 (was 1420)", "+ oc-two address 10.99.0.3/32",
                  "~ oc-two up", "+ default dev oc-one table 13128 metric 10",
                  "+ default dev oc-one table 13129 metric 10",
                  "+ 10.42.7.0/24 dev oc-two table 13131 mtu 1380", "+ 5190: from all nop",
                  "+ 5100: from all fwmark 0x01000000/0x0f000000 goto 5190",
                  "+ 5110: from 10.42.1.0/24 to 10.42.0.0/16 iif cni0 goto 5190",
                  "+ 5170: from all iif cni0 unreachable (ipv6)",
                  "+ 5140: from all to 192.0.2.7/32 ipproto tcp dport 5432 lookup 13129",
                  "+ 5150: from 10.42.1.0/24 iif cni0 lookup 13128",
                  "+ 5160: from all oif oc-one lookup 13129"));
}

TEST(Diff, TakesAwayInTheReverseOrder) {
  const Changes changes = diff(NetworkState{}, as_if_applied(sample_state()));
  const auto steps = texts(changes);
  EXPECT_EQ(steps.front(), "- 5160: from all oif oc-one lookup 13129");
  EXPECT_EQ(steps[6], "- 5190: from all nop");
  EXPECT_EQ(steps[steps.size() - 2], "- unreachable default table 13128 metric 4294967295 (ipv6)");
  EXPECT_EQ(steps.back(), "- nft tables of oceanid");
}

TEST(Diff, SwitchesTheExitWithOneReplace) {
  const Changes changes = diff(sample_state("oc-two"), as_if_applied(sample_state("oc-one")));
  EXPECT_THAT(texts(changes), ElementsAre("~ default dev oc-two table 13128 metric 10 (was default "
                                          "dev oc-one table 13128 metric 10)"));
}

TEST(Diff, RemovesTheLostExitBeforeNftRuns) {
  NetworkState desired = sample_state();
  std::erase(desired.routes, open_default(Family::v4, 13128, "oc-one"));
  desired.nft.text = sample_nft("other");
  EXPECT_THAT(texts(diff(desired, as_if_applied(sample_state()))),
              ElementsAre("- default dev oc-one table 13128 metric 10", "~ nft tables of oceanid"));
}

TEST(Diff, SkipsWhatNeedsAMissingDeviceAndRemovesWhatItWouldReplace) {
  Actual actual = as_if_applied(sample_state("oc-one"));
  std::erase_if(actual.links, [](const LinkActual& link) { return link.name == device("oc-two"); });
  const Changes changes = diff(sample_state("oc-two"), actual);
  EXPECT_EQ(texts(changes).front(), "- default dev oc-one table 13128 metric 10");
  EXPECT_THAT(changes.skipped, testing::Contains(HasSubstr("device oc-two does not exist")));
  EXPECT_THAT(changes.skipped, testing::Contains("link oc-two: does not exist"));
}

TEST(Diff, SkipsARouteByAForeignDeviceThatIsDown) {
  NetworkState desired;
  desired.routes = {open_default(Family::v4, 13128, "tailscale0")};
  Actual actual;
  actual.links = {LinkActual{device("tailscale0"), false, 1280, {}}};
  const Changes changes = diff(desired, actual);
  EXPECT_TRUE(changes.empty());
  EXPECT_THAT(changes.skipped, ElementsAre(HasSubstr("tailscale0 is down")));
}

TEST(Diff, LeavesIpv6OutWhereTheKernelHasNone) {
  Actual actual = empty_host();
  actual.ipv6 = false;
  const Changes changes = diff(sample_state(), actual);
  for (const std::string& text : texts(changes))
    EXPECT_THAT(text, testing::Not(HasSubstr("ipv6")));
  EXPECT_THAT(changes.skipped, ElementsAre(HasSubstr("without IPv6")));
}

TEST(Diff, RunsNftWhenTheTableIsMissingThoughTheTextIsTheSame) {
  Actual actual = as_if_applied(sample_state());
  actual.nft.inet = false;
  EXPECT_THAT(texts(diff(sample_state(), actual)), ElementsAre("~ nft tables of oceanid"));
}

TEST(Diff, InverseOfEveryStepIsItsOwnInverse) {
  Changes up = diff(sample_state(), empty_host());
  Changes over = diff(sample_state("oc-two"), as_if_applied(sample_state("oc-one")));
  up.steps.insert(up.steps.end(), over.steps.begin(), over.steps.end());
  for (const Change& change : up.steps) {
    const auto back = inverse(change);
    ASSERT_TRUE(back);
    EXPECT_NE(*back, change);
    EXPECT_EQ(inverse(*back), change);
  }
  EXPECT_FALSE(inverse(ReplaceNft{std::nullopt, NftTables{"x", {}}}));
}

TEST(Describe, GroupsChangesAndDiffsNftByLine) {
  NetworkState desired = sample_state("oc-two");
  desired.nft.text = sample_nft("second");
  Actual actual = as_if_applied(sample_state("oc-one"));
  actual.sysctls["net/ipv4/conf/all/src_valid_mark"] = "0";
  const std::string counter =
      "    iifname \"cni0\" oifname != { \"oc-one\", \"oc-two\" } counter drop comment ";
  EXPECT_EQ(
      describe(diff(desired, actual)),
      "nft\n  - " + counter + "\"kill switch\"\n  + " + counter +
          "\"second\"\n"
          "sysctls\n  ~ net.ipv4.conf.all.src_valid_mark=1 (was 0)\n"
          "routes\n  ~ default dev oc-two table 13128 metric 10 (was default dev oc-one table "
          "13128 metric 10)\n");
  EXPECT_EQ(describe(Changes{}), "nothing to change\n");
}

TEST(Describe, NamesASysctlOfADeviceWithADotBySlashes) {
  EXPECT_EQ(sysctl_assignment("net/ipv4/conf/eth0.7/rp_filter", "2"),
            "net/ipv4/conf/eth0.7/rp_filter=2");
}

TEST(CreatesTable, WantsTheWholeHeadOfALine) {
  EXPECT_TRUE(creates_table("table inet oceanid {\n}\n", "inet oceanid"));
  EXPECT_TRUE(creates_table("add table x\ntable ip oceanid_nat {\n}\n", "ip oceanid_nat"));
  EXPECT_FALSE(creates_table("delete table inet oceanid\n", "inet oceanid"));
  EXPECT_FALSE(creates_table("table inet oceanid_two {\n}\n", "inet oceanid"));
}

// The kernel goes on behind a change that it refuses.
TEST(Together, LookUpsAndWhatIsOfAnotherKindGoAlone) {
  const auto add = [](RuleAction action) -> Change {
    return NetlinkChange(AddRule{rule(5120, action)});
  };
  const Change open = NetlinkChange(AddRoute{open_default(Family::v4, 13128, "oc-one")});
  const Change closed = NetlinkChange(AddRoute{closed_default(Family::v4, 13128)});
  const auto count = [](std::vector<Change> steps) { return together(steps); };
  EXPECT_EQ(count({add(Goto{5190}), add(Goto{5190}), add(Unreachable{})}), 2U);
  EXPECT_EQ(count({add(Lookup{13128}), add(Lookup{13129})}), 1U);
  EXPECT_EQ(count({add(Lookup{13128, true}), add(Goto{5190})}), 1U);
  EXPECT_EQ(count({closed, closed, open}), 2U);
  EXPECT_EQ(count({open, open}), 2U);
  EXPECT_EQ(count({open, inverse(open).value()}), 1U);
  EXPECT_EQ(count({WriteSysctl{}, WriteSysctl{}}), 1U);
  EXPECT_EQ(count({ReplaceNft{}, ReplaceNft{}}), 1U);
}

}  // namespace
}  // namespace oceanid::routing
