// Who takes which exit: the list itself, and that the rules made from it say the same, packet by
// packet.

#include "routing/core/selection.hpp"

#include "plan_inputs.hpp"
#include "routing/core/marks.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace oceanid::routing {
namespace {

using examples::address;
using examples::line;
using examples::prefix;

constexpr std::uint8_t icmp = 1;
constexpr std::uint8_t tcp = 6;
constexpr std::uint8_t udp = 17;
constexpr std::uint32_t carried = 0x08000000;
constexpr std::uint32_t exempt = 0x01000000;

// What the kernel does with a packet from cni0: "table N", "unreachable" or "main".
std::string verdict(const std::vector<Rule>& rules, const RoutedPacket& packet,
                    std::uint32_t mark) {
  std::uint32_t from = 0;
  for (const Rule& rule : rules) {  // sorted by family and preference
    if (rule.family != packet.source.family() || rule.priority < from) continue;
    if (rule.oif || (rule.iif && rule.iif->str() != "cni0")) continue;
    if (rule.from && !rule.from->contains(packet.source)) continue;
    if (rule.to && !rule.to->contains(packet.destination)) continue;
    if (rule.mark && (mark & rule.mark->mask) != rule.mark->value) continue;
    if (rule.ip_protocol && *rule.ip_protocol != packet.protocol) continue;
    if (rule.destination_port && *rule.destination_port != packet.port) continue;
    if (const auto* jump = std::get_if<Goto>(&rule.action)) from = jump->priority;
    if (std::holds_alternative<Unreachable>(rule.action)) return "unreachable";
    if (const auto* look_up = std::get_if<Lookup>(&rule.action))
      return "table " + std::to_string(look_up->table);
  }
  return "main";
}

std::vector<RoutedPacket> packets(const std::vector<std::string>& sources,
                                  const std::vector<std::string>& destinations) {
  std::vector<RoutedPacket> out;
  for (const auto& source : sources)
    for (const auto& destination : destinations)
      for (const int port : {443, 873, 5432, 8443})
        for (const std::uint8_t protocol : {icmp, tcp, udp})
          out.push_back({address(source), address(destination), protocol,
                         static_cast<std::uint16_t>(protocol == icmp ? 0 : port)});
  return out;
}

std::string wanted(const Inputs& in, const RoutedPacket& packet) {
  const auto selectors = selectors_of(*in.routing);
  const Selector& selector = selectors.at(first_fit(selectors, packet));
  if (selector.way == Way::direct) return "main";
  if (selector.way == Way::active) return "table 13128";
  for (std::size_t i = 0; i < in.exits.size(); ++i)
    if (in.exits[i].name == selector.exit) return "table " + std::to_string(13129 + i);
  return "unreachable";
}

std::string told(const RoutedPacket& packet) {
  return packet.source.to_string() + " > " + packet.destination.to_string() + " protocol " +
         std::to_string(packet.protocol) + " port " + std::to_string(packet.port);
}

Inputs both_families() {
  Inputs in = examples::dual_stack();
  SelectionRule partner = line("meliae");
  partner.destinations = {prefix("198.18.0.0/24"), prefix("2001:db8:2::/64")};
  SelectionRule databases = line("active");
  databases.ports = {5432};
  databases.protocol = Transport::tcp;
  in.exits[1].ipv6 = true;
  in.routing->selection = {partner, databases};
  in.routing->destinations = {prefix("198.18.1.0/24"), prefix("2001:db8:3::/64")};
  return in;
}

TEST(Selection, RulesSayWhatTheListSays) {
  const std::vector<std::string> far{"192.0.2.10",    "192.0.2.65",    "198.18.0.9",   "198.18.1.9",
                                     "2001:db8:2::9", "2001:db8:3::9", "2001:db8:4::9"};
  const std::vector<std::pair<Inputs, std::vector<std::string>>> nodes{
      {examples::styx(), {"10.42.1.11"}},
      {examples::narrow_worker(), {"10.42.1.11"}},
      {examples::databases_only(), {"10.42.1.11"}},
      {examples::selecting_worker(), {"10.42.1.11", "10.42.1.12"}},
      {examples::selecting_exit(), {"10.42.0.11"}},
      {both_families(), {"10.42.0.11", "fd42::11"}}};
  for (const auto& [in, sources] : nodes) {
    const auto rules = plan(in).rules;
    for (const RoutedPacket& packet : packets(sources, far)) {
      if (packet.source.family() != packet.destination.family()) continue;
      EXPECT_EQ(verdict(rules, packet, carried | (wanted(in, packet) == "main" ? exempt : 0)),
                wanted(in, packet))
          << told(packet);
    }
  }
}

// Without our ruleset, on a worker: nothing that an exit should carry meets main's routes, and what
// goes direct still does.
TEST(Selection, RulesAloneLeakNothing) {
  for (const Inputs& in : {examples::databases_only(), examples::selecting_worker(),
                           examples::narrow_worker(), examples::selecting_exit()}) {
    const auto rules = plan(in).rules;
    const bool self = !in.exits[0].tunnel;
    for (const RoutedPacket& packet : packets({self ? "10.42.0.11" : "10.42.1.11"},
                                              {"192.0.2.10", "192.0.2.65", "198.18.0.9"})) {
      const std::string want = wanted(in, packet);
      EXPECT_EQ(verdict(rules, packet, 0), want != "main" && self ? "unreachable" : want)
          << told(packet);
    }
  }
}

TEST(Selection, AForgedSourceIsCaughtWhereItWouldBeCarried) {
  for (const Inputs& in : {examples::databases_only(), examples::narrow_worker()}) {
    const auto rules = plan(in).rules;
    for (const RoutedPacket& packet : packets({"10.66.0.9"}, {"198.18.0.9", "192.0.2.10"}))
      EXPECT_EQ(verdict(rules, packet, carried),
                wanted(in, packet) == "main" ? "main" : "unreachable")
          << told(packet);
  }
}

// The answer of a pod to a database's datagram that it no longer wants.
TEST(Selection, AnErrorTakesTheWayOfItsConnection) {
  const auto rules = plan(examples::databases_only()).rules;
  const RoutedPacket error{address("10.42.1.11"), address("192.0.2.10"), icmp, 0};
  EXPECT_EQ(verdict(rules, error, carried), "table 13128");
  EXPECT_EQ(verdict(rules, error, carried | exempt), "main");
  EXPECT_EQ(verdict(rules, error, 0), "main") << "nobody translates it";
}

TEST(Selection, APinnedExitThatIsDownRefuses) {
  Inputs in = examples::selecting_worker();
  in.routing->kill_switch = false;
  for (const bool present : {true, false}) {
    in.exits[1].present = present;
    in.exits[1].usable = false;
    EXPECT_EQ(
        verdict(plan(in).rules, {address("10.42.1.12"), address("192.0.2.10"), tcp, 443}, carried),
        "unreachable");
  }
}

TEST(Selection, WithoutTheKillSwitchNoLaterLineCatchesWhatTheLostExitCarried) {
  Inputs in = examples::selecting_worker();
  SelectionRule active = line("active");
  active.ports = {443};
  in.routing->selection.insert(in.routing->selection.begin(), active);
  in.routing->kill_switch = false;
  const RoutedPacket packet{address("10.42.1.12"), address("192.0.2.10"), tcp, 443};
  EXPECT_EQ(verdict(plan(in).rules, packet, carried), "table 13128");
  in.active.reset();
  EXPECT_EQ(verdict(plan(in).rules, packet, carried), "main");
}

TEST(Selection, ALongListOfDestinationsIsNotMadeOfRules) {
  Inputs in = examples::databases_only();
  in.routing->ports.clear();
  std::vector<Prefix> many = in.routing->destinations;
  for (unsigned i = 0; i < 200; ++i)
    many.push_back(prefix("198.18." + std::to_string(i) + ".0/24"));
  in.routing->destinations = std::move(many);
  const NetworkState state = plan(in);
  EXPECT_LT(state.rules.size(), 60U);
  const RoutedPacket outside{address("10.42.1.11"), address("192.0.2.10"), tcp, 443};
  EXPECT_EQ(verdict(state.rules, outside, carried | exempt), "main");
  EXPECT_EQ(verdict(state.rules, outside, 0), "table 13128") << "without our ruleset it is closed";
  EXPECT_EQ(verdict(state.rules, {address("10.66.0.9"), address("192.0.2.10"), tcp, 443}, 0),
            "unreachable");
}

TEST(Selection, IsExplained) {
  const auto worker = *examples::selecting_worker().routing;
  const auto of = [&](const char* from, const char* to, std::uint16_t port) {
    return explain_way(worker, {address(from), address(to), tcp, port}, "tethys");
  };
  EXPECT_EQ(of("10.42.1.11", "192.0.2.65", 873),
            "by this host's own routes, not through an exit (routing.selection[0])");
  EXPECT_EQ(of("10.42.1.12", "192.0.2.65", 443),
            "through exit meliae only, refused while it is down (routing.selection[1])");
  EXPECT_EQ(of("10.42.1.11", "192.0.2.10", 443), "through the selected exit, now tethys");
  EXPECT_EQ(of("10.9.9.9", "192.0.2.10", 443), "");
  EXPECT_EQ(explain_way(worker, {address("10.42.1.11"), address("192.0.2.10"), tcp, 443}, ""),
            "refused: no exit is usable now");
  const auto narrow = *examples::databases_only().routing;
  EXPECT_EQ(explain_way(narrow, {address("10.42.1.11"), address("192.0.2.10"), tcp, 443}, "tethys"),
            "by this host's own routes, not through an exit (routing.destinations and "
            "routing.ports)");
}

}  // namespace
}  // namespace oceanid::routing
