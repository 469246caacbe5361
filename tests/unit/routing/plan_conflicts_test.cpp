#include "plan_inputs.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

using examples::prefix;
using testing::Contains;
using testing::HasSubstr;

TEST(PlanConflicts, TheExamplesHaveNone) {
  for (const auto& [example, in] : examples::all())
    EXPECT_THAT(conflicts(in), testing::IsEmpty()) << example;
}

TEST(PlanConflicts, SourcesThatContainATunnelEndpoint) {
  Inputs in = examples::styx();
  in.routing->sources = {prefix("203.0.113.0/24")};
  EXPECT_THAT(conflicts(in),
              Contains(HasSubstr("203.0.113.0/24 contains the tunnel endpoint 203.0.113.10")));
}

TEST(PlanConflicts, SourcesThatContainAnAddressOfTheNode) {
  Inputs in = examples::calypso();
  in.routing->sources = {prefix("192.168.0.0/16")};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("this node's address 192.168.77.40")));
}

TEST(PlanConflicts, SourcesThatContainPodsOfAPeer) {
  Inputs in = examples::styx();
  in.routing->sources = {prefix("10.42.0.0/16")};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("10.42.0.0/24, which lies behind peer tethys")));
}

TEST(PlanConflicts, SourcesThatContainATunnelAddress) {
  Inputs in = examples::styx();
  in.routing->sources = {prefix("10.99.0.0/24")};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("this node's tunnel address 10.99.0.3")));
}

TEST(PlanConflicts, ClientsThatContainTheUplink) {
  Inputs in = examples::tethys();
  in.serve_exit->clients.push_back(prefix("203.0.113.0/28"));
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("contains the uplink's own address 203.0.113.10")));
}

TEST(PlanConflicts, TwoPeersWithOneNetwork) {
  Inputs in = examples::styx();
  in.links[1].peers[0].networks = {prefix("10.42.0.0/23")};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("overlaps")));
}

TEST(PlanConflicts, NumbersThatAreTaken) {
  Inputs in = examples::styx();
  in.routing->table = 254;
  in.routing->priority = 32700;
  in.routing->mark = Mark{0x01000000, 0x07000000};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("routing.table: 254")));
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("routing.priority: 32700..32790")));
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("no four adjacent bits")));
}

TEST(PlanConflicts, ATunnelAddressThatTheNodeHasElsewhere) {
  Inputs in = examples::styx();
  in.tunnel_addresses = {examples::address("198.51.100.30")};
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("tunnel.address: 198.51.100.30 is this node's")));
}

TEST(PlanConflicts, APeersAddressOnALinkOfTheNode) {
  Inputs in = examples::styx();
  in.links[0].peers[0].addresses = {examples::address("198.51.100.17")};  // the node's next hop
  EXPECT_THAT(conflicts(in), Contains(HasSubstr("198.51.100.17, the address of tethys, lies in "
                                                "198.51.100.16/28")));
}

TEST(PlanConflicts, TheUplinkAsThePodsInterface) {
  Inputs in = examples::styx();
  in.routing->interfaces = {examples::name("eth0")};
  EXPECT_THAT(conflicts(in),
              Contains(HasSubstr("routing.interfaces: eth0 is the way to the internet")));
}

TEST(PlanConflicts, ABridgeThatLosesWhatTproxyAssigns) {
  Inputs in = examples::assigning();
  in.tracked_bridges = {examples::name("cni0")};
  EXPECT_THAT(conflicts(in), Contains(testing::AllOf(HasSubstr("comes in by cni0"),
                                                     HasSubstr("bridge-nf-call-iptables=0"),
                                                     HasSubstr("mode: redirect"))));
  in.interceptions[0].tproxy = false;
  EXPECT_THAT(conflicts(in), testing::IsEmpty());
}

TEST(PlanConflicts, TheOperatorsSession) {
  const auto session = ControlConnection::parse("192.0.2.77 50122 198.51.100.30 22");
  ASSERT_TRUE(session);
  Inputs in = examples::styx();
  EXPECT_THAT(conflicts(in, session), testing::IsEmpty());
  in.links[0].peers[0].addresses = {examples::address("192.0.2.77")};
  EXPECT_THAT(conflicts(in, session),
              Contains(HasSubstr("the address of tethys is 192.0.2.77, from where "
                                 "you are connected to 198.51.100.30 now")));
  // Who comes by the tunnel is answered by the tunnel.
  const auto inside = ControlConnection::parse("192.0.2.77 50122 10.99.0.3 22");
  EXPECT_THAT(conflicts(in, inside), testing::IsEmpty());
  in = examples::styx();
  in.routing->sources = {prefix("192.0.2.0/24")};
  EXPECT_THAT(conflicts(in, session),
              Contains(HasSubstr("routing.sources: 192.0.2.0/24 contains 192.0.2.77")));
}

TEST(PlanConflicts, NoSessionIsRecognisedInNonsense) {
  for (const char* text :
       {"", " ", "1.2.3.4", "1.2.3.4 1 5.6.7.8", "a 1 b 2", "1.2.3.4 1 5.6.7.8 22 9"})
    EXPECT_FALSE(ControlConnection::parse(text)) << text;
  EXPECT_TRUE(ControlConnection::parse("2001:db8::7 1 2001:db8::1 22"));
}

}  // namespace
}  // namespace oceanid::routing
