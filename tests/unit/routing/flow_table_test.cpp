// The shadow of pods' connections: which of them follow the active exit, which one was left behind.

#include "routing/core/flow_table.hpp"

#include "tests/unit/routing/plan_inputs.hpp"

#include <algorithm>
#include <memory>
#include <set>
#include <string_view>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using examples::address;
using examples::name;

constexpr std::string_view pod = "10.42.1.7";
constexpr std::string_view server = "192.0.2.80";

Flow flow(std::string_view source, std::string_view destination, std::uint16_t port,
          std::uint8_t protocol = tcp_number) {
  Flow out;
  out.original = {address(source), address(destination), port, 443, protocol};
  out.reply = {address(destination), address(source), 443, port, protocol};
  out.id = 1000U + port;
  if (protocol == tcp_number) out.tcp_state = TcpState::established;
  return out;
}

Flow in_state(Flow changed, TcpState state) {
  changed.tcp_state = state;
  return changed;
}

FlowScope scope_of(const Inputs& inputs) {
  return FlowScope(plan(inputs), *inputs.routing);
}

// styx, a worker: pods are 10.42.1.0/24.
std::unique_ptr<FlowTable> table_of(std::size_t limit = 1000) {
  auto table = std::make_unique<FlowTable>(limit);
  table->set_scope(scope_of(examples::styx()));
  table->follow(name("oc-tethys"));
  return table;
}

std::vector<std::uint16_t> ports_left_behind(FlowTable& table, std::size_t count = 1000) {
  std::vector<std::uint16_t> out;
  while (true) {
    const auto taken = table.take_left_behind(count);
    for (const Flow& one : taken.flows)
      out.push_back(one.original.source_port);
    if (taken.complete) break;
  }
  std::ranges::sort(out);
  return out;
}

TEST(FlowScope, FollowsWhatTheRulesSteer) {
  const FlowScope scope = scope_of(examples::styx());
  EXPECT_TRUE(scope.follows_active(flow(pod, server, 1)));
  EXPECT_TRUE(scope.follows_active(flow(pod, server, 1, udp_number)));
  EXPECT_FALSE(scope.follows_active(flow(pod, "10.42.2.9", 1))) << "bypass";
  EXPECT_FALSE(scope.follows_active(flow(pod, "203.0.113.10", 1))) << "a peer's endpoint";
  EXPECT_FALSE(scope.follows_active(flow("10.42.9.9", server, 1))) << "not this node's pod";
  EXPECT_FALSE(scope.follows_active(flow("2001:db8::7", "2001:db8::8", 1))) << "blocked";
  EXPECT_FALSE(FlowScope().follows_active(flow(pod, server, 1)));
}

TEST(FlowScope, JudgesByWhoAnswers) {
  const FlowScope scope = scope_of(examples::styx());
  Flow service = flow(pod, "10.43.0.20", 1);
  service.reply.source = address("10.42.1.9");
  EXPECT_FALSE(scope.follows_active(service)) << "a service of pods";
  service.reply.source = address(server);
  EXPECT_TRUE(scope.follows_active(service)) << "a service whose endpoint is outside";
  Flow outside = flow(pod, server, 1);
  outside.reply.source = address("10.42.1.1");
  EXPECT_FALSE(scope.follows_active(outside)) << "taken by a listener of this node";
}

TEST(FlowScope, KnowsPortsAndMarks) {
  Inputs narrow = examples::styx();
  narrow.routing->ports = {443};
  const FlowScope by_port = scope_of(narrow);
  EXPECT_TRUE(by_port.follows_active(flow(pod, server, 1)));
  Flow other = flow(pod, server, 1);
  other.original.destination_port = other.reply.source_port = 80;
  EXPECT_FALSE(by_port.follows_active(other));
  // tethys: its own uplink is an exit, which asks for the mark of carried packets.
  EXPECT_TRUE(scope_of(examples::tethys()).follows_active(flow("10.42.0.7", server, 1)));
}

TEST(FlowTable, KeepsWhatBeganByTheFormerExit) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  table.flow_begun(flow(pod, server, 1));
  table.flow_begun(flow(pod, server, 2, udp_number));
  table.flow_begun(flow(pod, "10.42.2.9", 3));
  EXPECT_EQ(table.size(), 2U);
  table.follow(name("oc-meliae"));
  table.flow_begun(flow(pod, server, 4));
  EXPECT_EQ(table.left_behind(), 2U);
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(1, 2));
  EXPECT_EQ(table.size(), 1U);
  EXPECT_THAT(ports_left_behind(table), testing::IsEmpty());
}

TEST(FlowTable, HandsOverInParts) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  for (std::uint16_t port = 1; port <= 100; ++port)
    table.flow_begun(flow(pod, server, port));
  table.follow(name("oc-meliae"));
  const auto first = table.take_left_behind(30);
  EXPECT_FALSE(first.complete);
  EXPECT_GE(first.flows.size(), 30U);
  EXPECT_LT(first.flows.size(), 60U) << "what shares a bucket may come on top";
  table.flow_begun(flow(pod, server, 200));
  EXPECT_EQ(ports_left_behind(table, 30).size(), 100 - first.flows.size());
  EXPECT_EQ(table.size(), 1U);
}

TEST(FlowTable, FollowsTheSameDeviceOnce) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  table.flow_begun(flow(pod, server, 1));
  table.follow(name("oc-tethys"));
  EXPECT_EQ(table.left_behind(), 0U);
}

// After a restart everything known is taken to go by the exit that the kernel's route names.
TEST(FlowTable, TakesWhatItFindsForTheFirstExit) {
  FlowTable table(10);
  table.set_scope(scope_of(examples::styx()));
  table.flow_begun(flow(pod, server, 1));
  table.follow(name("oc-tethys"));
  EXPECT_EQ(table.left_behind(), 0U);
  table.follow(name("oc-meliae"));
  EXPECT_EQ(table.left_behind(), 1U);
}

TEST(FlowTable, LeavesUnansweredConnectionsToTheirNextSyn) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  table.flow_begun(in_state(flow(pod, server, 1), TcpState::syn_sent));
  table.flow_begun(in_state(flow(pod, server, 2), TcpState::syn_sent));
  table.flow_updated(flow(pod, server, 2));
  table.follow(name("oc-meliae"));
  table.flow_begun(in_state(flow(pod, server, 3), TcpState::syn_sent));
  table.flow_updated(flow(pod, server, 1));
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(2));
  table.follow(name("oc-tethys"));
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(1)) << "established by the second";
}

TEST(FlowTable, ForgetsWhatEnds) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  for (std::uint16_t port = 1; port <= 4; ++port)
    table.flow_begun(flow(pod, server, port));
  table.flow_ended(flow(pod, server, 1));
  table.flow_updated(in_state(flow(pod, server, 2), TcpState::time_wait));
  Flow another = flow(pod, server, 3);
  ++another.id;
  table.flow_ended(another);
  EXPECT_EQ(table.size(), 2U) << "the end of another entry with these tuples";
  table.follow(name("oc-meliae"));
  table.flow_ended(flow(pod, server, 3));
  EXPECT_EQ(table.left_behind(), 1U);
  // The former end was lost: the tuples now belong to a connection of the present exit.
  Flow again = flow(pod, server, 4);
  ++again.id;
  table.flow_begun(again);
  EXPECT_EQ(table.left_behind(), 0U);
  EXPECT_EQ(table.size(), 1U);
}

TEST(FlowTable, DoesNotTakeBackWhatItHandedOver) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  table.flow_begun(flow(pod, server, 1));
  table.follow(name("oc-meliae"));
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(1));
  table.flow_updated(flow(pod, server, 1));
  EXPECT_EQ(table.size(), 0U);
}

TEST(FlowTable, DropsWhatADumpDoesNotName) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  for (std::uint16_t port = 1; port <= 3; ++port)
    table.flow_begun(flow(pod, server, port));
  table.dump_begins();
  table.flow_begun(flow(pod, server, 1));
  table.flow_begun(flow(pod, server, 9));
  table.dump_ended();
  EXPECT_EQ(table.size(), 2U);
  table.follow(name("oc-meliae"));
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(1, 9));
}

// A former life was draining an exit when it ended; nobody does that any more.
TEST(FlowTable, FindsWhatAFormerLifeWasDraining) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  table.set_draining(Mark{0x0a000000, 0x0a000000});
  Flow drained = flow(pod, server, 1);
  drained.mark = 0x0a000000;
  table.flow_begun(drained);
  Flow carried = flow(pod, server, 2);
  carried.mark = 0x08000000;
  table.flow_begun(carried);
  EXPECT_THAT(ports_left_behind(table), testing::ElementsAre(1));
}

TEST(FlowTable, ListsInPartsWhatGoesByTheExit) {
  const auto owned = table_of();
  FlowTable& table = *owned;
  for (std::uint16_t port = 1; port <= 100; ++port)
    table.flow_begun(flow(pod, server, port));
  std::set<std::uint16_t> ports;
  std::size_t from = 0;
  do {
    for (const Flow& one : table.some(from))
      ports.insert(one.original.source_port);
  } while (from != 0);
  EXPECT_EQ(ports.size(), 100U);
}

TEST(FlowTable, IsBounded) {
  const auto owned = table_of(2);
  FlowTable& table = *owned;
  for (std::uint16_t port = 1; port <= 4; ++port)
    table.flow_begun(flow(pod, server, port));
  EXPECT_EQ(table.size(), 2U);
  EXPECT_EQ(table.refused(), 2U);
}

}  // namespace
}  // namespace oceanid::routing
