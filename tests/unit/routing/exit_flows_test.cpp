// An exit's connections: what is booked where, once each, and how much of it is kept.

#include "routing/core/exit_flows.hpp"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

const IpAddress first = address("203.0.113.10");
const PortUse database{first, {address("192.0.2.10"), 5432, tcp_number}};

Flow flow(std::uint32_t id, const char* from, std::uint16_t to_port = 5432) {
  Flow out;
  out.id = id;
  out.original = {address(from), address("192.0.2.10"), 40000, to_port, tcp_number};
  out.reply = {address("192.0.2.10"), first, to_port, 1024, tcp_number};
  return out;
}

Flow ended(Flow of, std::uint64_t up, std::uint64_t down) {
  of.sent = FlowCount{2, up};
  of.received = FlowCount{3, down};
  return of;
}

TEST(ExitFlows, AFlowToldTwiceCountsOnce) {
  ExitFlows flows;
  flows.flow_begun(flow(1, "10.42.1.11"));
  flows.flow_begun(flow(1, "10.42.1.11"));
  flows.flow_begun(flow(2, "10.42.1.11"));
  EXPECT_EQ(flows.budget().used(database), 2U);
  EXPECT_EQ(flows.ledger().largest(1).at(0)->open, 2U);
  flows.flow_ended(ended(flow(1, "10.42.1.11"), 100, 2000));
  EXPECT_EQ(flows.budget().used(database), 1U);
  const auto* client = flows.ledger().largest(1).at(0);
  EXPECT_EQ(client->open, 1U);
  EXPECT_EQ(client->flows, 1U);
  EXPECT_EQ(client->usage, (Usage{100, 2000, 2, 3}));
  ASSERT_EQ(client->destinations.size(), 1U);
  EXPECT_EQ(client->destinations[0].to, database.to);
  EXPECT_EQ(client->destinations[0].bytes, 2100U);
}

// The kernel's ids are hashes: two entries may have the same one.
TEST(ExitFlows, TwoFlowsWithOneIdAreTwo) {
  ExitFlows flows;
  flows.flow_begun(flow(1, "10.42.1.11"));
  flows.flow_begun(flow(1, "10.42.1.12"));
  EXPECT_EQ(flows.budget().used(database), 2U);
  flows.flow_ended(flow(1, "10.42.1.11"));
  EXPECT_EQ(flows.budget().used(database), 1U);
  flows.flow_ended(flow(1, "10.42.1.12"));
  EXPECT_EQ(flows.budget().used(database), 0U);
}

// One after another with the same tuples: the end of the former may be told late.
TEST(ExitFlows, AnotherIdIsAnotherFlow) {
  ExitFlows flows;
  flows.flow_begun(flow(1, "10.42.1.11"));
  flows.flow_begun(flow(2, "10.42.1.11"));
  flows.flow_ended(flow(1, "10.42.1.11"));
  EXPECT_EQ(flows.budget().used(database), 1U);
}

TEST(ExitFlows, WhatIsNotTranslatedIsNotOurs) {
  ExitFlows flows;
  Flow through = flow(1, "10.42.1.11");
  through.reply.destination = through.original.source;
  flows.flow_begun(through);
  flows.flow_ended(through);
  EXPECT_EQ(flows.open(), 0U);
  EXPECT_EQ(flows.ledger().size(), 0U);
}

TEST(ExitFlows, AnEchoTakesNoPortButIsAccounted) {
  ExitFlows flows;
  Flow echo = flow(1, "10.42.1.11", 0);
  echo.original.protocol = echo.reply.protocol = 1;
  flows.flow_begun(echo);
  EXPECT_EQ(flows.budget().used({first, {address("192.0.2.10"), 0, 1}}), 0U);
  flows.flow_ended(ended(echo, 84, 84));
  EXPECT_EQ(flows.ledger().largest(1).at(0)->usage.bytes(), 168U);
}

TEST(ExitFlows, ADumpTellsWhatHasEndedUnheard) {
  ExitFlows flows;
  flows.flow_begun(flow(1, "10.42.1.11"));
  flows.flow_begun(flow(2, "10.42.1.12"));
  flows.flow_begun(flow(4, "10.42.1.12"));
  flows.dump_begins();
  flows.flow_begun(flow(2, "10.42.1.12"));
  flows.flow_begun(flow(3, "10.42.1.12"));
  flows.flow_ended(ended(flow(4, "10.42.1.12"), 1, 1));
  flows.dump_ended();
  EXPECT_EQ(flows.open(), 2U);
  EXPECT_EQ(flows.budget().used(database), 2U);
  flows.flow_ended(ended(flow(1, "10.42.1.11"), 1, 1));  // late: counted, closes nothing
  EXPECT_EQ(flows.budget().used(database), 2U);
  flows.dump_begins();
  flows.flow_begun(flow(2, "10.42.1.12"));
  flows.flow_begun(flow(3, "10.42.1.12"));
  flows.dump_ended();
  EXPECT_EQ(flows.open(), 2U) << "all of them were told of again";
}

TEST(ExitFlows, WithoutAccountingOnlyPortsAreCounted) {
  ExitFlows flows;
  flows.account(false);
  flows.flow_begun(flow(1, "10.42.1.11"));
  EXPECT_EQ(flows.budget().used(database), 1U);
  flows.account(true);  // by a reload: what began before is not among the client's open ones
  flows.flow_begun(flow(2, "10.42.1.11"));
  flows.flow_ended(ended(flow(1, "10.42.1.11"), 1, 1));
  EXPECT_EQ(flows.ledger().largest(1).at(0)->open, 1U);
  flows.account(false);
  flows.flow_ended(ended(flow(2, "10.42.1.11"), 1, 1));
  EXPECT_EQ(flows.ledger().largest(1).at(0)->flows, 1U);
  EXPECT_EQ(flows.ledger().largest(1).at(0)->open, 0U);
}

TEST(ExitFlows, SaysAtOnceWhenPortsRunLow) {
  ExitFlows flows;
  flows.budget().set_ports({20000, 20099});
  int calls = 0;
  flows.set_on_pressing([&] { ++calls; });
  for (std::uint32_t id = 1; id < 80; ++id)
    flows.flow_begun(flow(id, "10.42.1.11"));
  static_cast<void>(flows.budget().tick(std::chrono::seconds(1), {}));
  calls = 0;
  flows.flow_begun(flow(80, "10.42.1.11"));
  EXPECT_EQ(calls, 1);
}

TEST(ClientLedger, KeepsSixteenDestinationsOfTenThousandWithTheLargest) {
  ClientLedger ledger;
  const IpAddress client = address("10.42.1.11");
  for (std::uint16_t port = 1; port <= 10'000; ++port)
    ledger.ended(client, {address("192.0.2.10"), port, 6}, {port == 3 ? 1'000'000U : 10U, 0, 1, 0});
  const auto* line = ledger.largest(1).at(0);
  ASSERT_EQ(line->destinations.size(), ClientLedger::most_destinations);
  EXPECT_TRUE(std::ranges::any_of(line->destinations, [](const auto& one) {
    return one.to.port == 3 && one.bytes == 1'000'000;
  }));
  EXPECT_EQ(line->usage.bytes_up, 1'000'000U + 9'999U * 10U) << "the sum is exact";
  EXPECT_EQ(line->flows, 10'000U);
}

IpAddress numbered(unsigned i) {
  return IpAddress::v4({10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                        static_cast<std::uint8_t>(i)});
}

TEST(ClientLedger, IsBoundedAndTheSilentOnesLeave) {
  ClientLedger ledger;
  EXPECT_TRUE(ledger.opened(numbered(0)));  // oldest, but has an open flow
  for (unsigned i = 1; i <= 20'000; ++i)
    ledger.ended(numbered(i), {}, {1, 1, 1, 1});
  EXPECT_LE(ledger.size(), ClientLedger::most_clients);
  bool oldest = false;
  bool newest = false;
  for (const auto* client : ledger.largest(ledger.size())) {
    oldest = oldest || client->address == numbered(0);
    newest = newest || client->address == numbered(20'000);
    EXPECT_NE(client->address, numbered(1));
  }
  EXPECT_TRUE(oldest && newest);
}

TEST(ClientLedger, WhoFoundNoRoomFindsItWhenOthersAreSilent) {
  ClientLedger ledger;
  for (unsigned i = 0; i < 10'000; ++i)
    EXPECT_EQ(ledger.opened(numbered(i)), i < ClientLedger::most_clients) << i;
  EXPECT_EQ(ledger.size(), ClientLedger::most_clients);
  ledger.closed(numbered(9'999));  // not known: nothing to do
  for (unsigned i = 0; i < ClientLedger::most_clients; ++i)
    ledger.closed(numbered(i));
  bool found = false;
  for (unsigned i = 0; i < ClientLedger::most_clients; ++i)
    found = ledger.opened(numbered(20'000)) || found;
  EXPECT_TRUE(found);
  EXPECT_LE(ledger.size(), ClientLedger::most_clients);
}

TEST(ClientLedger, NetworksAreBoundedAndLoseNothing) {
  ClientLedger ledger;
  for (unsigned i = 0; i < 70'000; i += 64)
    ledger.ended(numbered(i), {}, {1, 2, 0, 0});
  EXPECT_EQ(ledger.networks().size(), ClientLedger::most_networks + 1);
  std::uint64_t up = 0;
  for (const auto& [network, line] : ledger.networks())
    up += line.usage.bytes_up;
  EXPECT_EQ(up, (70'000U + 63U) / 64U);
  EXPECT_TRUE(ledger.networks().contains(Prefix::parse("10.0.0.0/24").value()));
  const auto others = ledger.networks().at(Prefix::any(Family::v4)).flows;
  ledger.ended(address("fd42:1::9"), {}, {1, 0, 0, 0});
  EXPECT_EQ(ledger.networks().at(Prefix::any(Family::v4)).flows, others + 1)
      << "no room: counted together";
}

}  // namespace
}  // namespace oceanid::routing
