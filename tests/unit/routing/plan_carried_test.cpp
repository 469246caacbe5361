// What is not asked of every packet of a connection that was let pass, and where it is asked all
// the same. That packets then meet the right end is for tests/lab/test_plan_on_kernel.py to show.

#include "plan_inputs.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using examples::address;
using examples::prefix;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string chain(const Inputs& in, const std::string& name) {
  const std::string text = plan(in).nft.text;
  const auto begin = text.find("  chain " + name + " {");
  return begin == std::string::npos ? std::string()
                                    : text.substr(begin, text.find("\n  }\n", begin) - begin);
}

// The line of `guard` for what leaves by an exit's uplink; empty when there is none.
std::string by_the_uplink(const Inputs& in) {
  const std::string guard = chain(in, "guard");
  const auto begin = guard.find("ct reply ip daddr");
  return begin == std::string::npos ? std::string()
                                    : guard.substr(begin, guard.find('\n', begin) - begin);
}

const std::string special =
    "0.0.0.0, 10.0.0.0, 100.0.0.0, 127.0.0.0, 169.0.0.0, 172.0.0.0, 192.0.0.0, 198.0.0.0, "
    "203.0.0.0";

// Where others' connections pass, an established one says nothing about who sent the packet: a pod
// could take the addresses of another node's, whose connection is carried or relayed here.
TEST(PlanCarried, ASourceIsNotSearchedForWhereOnlyPodsConnectionsPass) {
  std::size_t workers = 0;
  std::size_t others = 0;
  for (const auto& [what, in] : examples::all()) {
    const std::string marks = chain(in, "marks_of_pods");
    const std::string tunnel = chain(in, "pods_into_tunnel");
    if (marks.empty()) continue;
    const bool only_pods = !in.serve_exit && !in.overlay;
    (only_pods ? workers : others) += 1;
    const std::string first = marks.substr(marks.find("ct direction original"));
    const std::string line = first.substr(0, first.find('\n'));
    EXPECT_THAT(line, testing::EndsWith(" return")) << what;
    if (only_pods)
      EXPECT_THAT(line, Not(HasSubstr("saddr"))) << what;
    else
      EXPECT_THAT(line, HasSubstr("saddr @sources")) << what;
    if (!tunnel.empty())
      EXPECT_EQ(tunnel.find("ct state established") != std::string::npos, only_pods) << what;
  }
  EXPECT_GE(workers, 5U);
  EXPECT_GE(others, 5U);
}

// Before the line that lets established ones go on: prefixes that left the list are followed.
TEST(PlanCarried, WhatWasTranslatedElsewhereIsRefusedFirst) {
  const std::string tunnel = chain(examples::long_bypass(), "pods_into_tunnel");
  EXPECT_LT(tunnel.find("ct status snat"), tunnel.find("ct state established return")) << tunnel;
}

TEST(PlanCarried, PinnedPodsAreAskedForTheirExitAllTheSame) {
  EXPECT_THAT(chain(examples::selecting_worker(), "pods_into_tunnel"),
              HasSubstr("ct state established goto pinned"));
  EXPECT_EQ(by_the_uplink(examples::selecting_exit()), "");
}

TEST(PlanCarried, AnExitsDestinationIsAskedOnlyWhereSomethingIsRefused) {
  EXPECT_EQ(by_the_uplink(examples::tethys()),
            "ct reply ip daddr 203.0.113.10 meta mark & 0x08000000 == 0x08000000 oifname \"eth0\" "
            "ip daddr < 224.0.0.0 ip daddr & 255.0.0.0 != { " +
                special + " } return");
}

TEST(PlanCarried, TheNodesNetworksAreAskedForAndItsAddressesAreNoDestination) {
  Inputs in = examples::tethys();
  in.on_link.push_back(prefix("9.1.2.0/26"));
  in.on_link.push_back(prefix("11.1.2.3/32"));
  in.local_addresses.push_back(address("12.1.2.3"));
  EXPECT_THAT(by_the_uplink(in), AllOf(HasSubstr("{ 0.0.0.0, 9.0.0.0, 10.0.0.0, 100.0.0.0,"),
                                       Not(HasSubstr("11.0.0.0")), Not(HasSubstr("12.0.0.0"))));
  in.on_link.push_back(prefix("96.0.0.0/6"));
  EXPECT_THAT(by_the_uplink(in),
              HasSubstr("10.0.0.0, 96.0.0.0, 97.0.0.0, 98.0.0.0, 99.0.0.0, 100.0.0.0,"));
  in.on_link.push_back(prefix("0.0.0.0/1"));
  EXPECT_EQ(by_the_uplink(in), "") << "a list that long is no help";
}

// A public range that is the cluster's may not leave by the uplink (to_cluster).
TEST(PlanCarried, PublicRangesOfTheClusterAreAskedFor) {
  Inputs in = examples::tethys();
  in.routing->sources.push_back(prefix("25.1.0.0/24"));
  examples::add_bypass(in, "25.1.0.0/16");
  ASSERT_THAT(by_the_uplink(in), HasSubstr("10.0.0.0, 25.0.0.0, 100.0.0.0"));
  in = examples::overlay_exit();
  ASSERT_FALSE(by_the_uplink(in).empty());
  in.links.front().peers.front().networks.push_back(prefix("26.1.0.0/24"));
  EXPECT_THAT(by_the_uplink(in), HasSubstr(" 26.0.0.0, "));
}

TEST(PlanCarried, ItGoesByTheAddressesThatClientsAreSeenWith) {
  EXPECT_THAT(by_the_uplink(examples::spilling_exit()),
              StartsWith("ct reply ip daddr { 203.0.113.10, 203.0.113.11 } "));
  EXPECT_THAT(by_the_uplink(examples::mapped_exit()),
              StartsWith("ct reply ip daddr { 203.0.113.10, 203.0.113.11, 203.0.113.12 } "));
  Inputs in = examples::tethys();
  in.serve_exit->snat = address("203.0.113.12");
  EXPECT_THAT(by_the_uplink(in), StartsWith("ct reply ip daddr 203.0.113.12 "));
  in.serve_exit->snat = SnatAuto{};
  EXPECT_THAT(by_the_uplink(in), StartsWith("ct reply ip daddr 203.0.113.10 "));
  in.uplink_source4.reset();
  EXPECT_EQ(by_the_uplink(in), "") << "masqueraded, with whatever address there is";
  EXPECT_THAT(chain(in, "last_line"), Not(HasSubstr("ip saddr 203")));
}

// The mark says that a pod is one, not that the map names it.
TEST(PlanCarried, AMapBesideOwnPodsIsAskedForEveryPacket) {
  Inputs in = examples::tethys();
  in.serve_exit->snat = SnatMap{{prefix("10.42.1.0/24"), address("203.0.113.10")}};
  EXPECT_EQ(by_the_uplink(in), "");
}

TEST(PlanCarried, TheLastLineLetsGoWhatHasAnExitsAddress) {
  EXPECT_THAT(chain(examples::tethys(), "last_line"),
              HasSubstr("policy accept;\n    ip saddr 203.0.113.10 return\n"));
  Inputs in = examples::tethys();
  in.serve_exit->clients.push_back(prefix("203.0.113.0/28"));
  EXPECT_THAT(chain(in, "last_line"), Not(HasSubstr("ip saddr 203.0.113.10 return")))
      << "a client's, too";
  const std::string overlay = chain(examples::overlay_exit(), "last_line");
  EXPECT_LT(overlay.find("@overlay4 goto refuse_untranslated"), overlay.find("ip saddr 203"));
}

}  // namespace
}  // namespace oceanid::routing
