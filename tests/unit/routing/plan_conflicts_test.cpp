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

}  // namespace
}  // namespace oceanid::routing
