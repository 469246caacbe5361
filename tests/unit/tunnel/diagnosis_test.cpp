// Every code of the diagnosis, the sentences of the manual, and which of two troubles is named.

#include "tunnel/core/diagnosis.hpp"

#include <functional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAreArray;

ExitFindings healthy(std::string name = "tethys") {
  ExitFindings e;
  e.name = e.peer = std::move(name);
  e.state = HealthState::up;
  e.path = PathState::up;
  e.echoes = 100;
  e.silence = 20ms;
  e.endpoint = "192.0.2.1:51820";
  e.handshake_age = 30s;
  e.rtt = 12'345us;
  e.baseline = 12ms;
  e.udp_port = 51820;
  e.tls_port = 443;
  return e;
}

ExitFindings dead(std::string name = "tethys") {
  ExitFindings e = healthy(std::move(name));
  e.state = HealthState::down;
  e.fall = Fall::echo;
  e.path = PathState::down;
  e.silence = 1500ms;
  return e;
}

struct ExitCase {
  std::string code;
  std::string phrase;
  std::function<void(ExitFindings&)> make;  // out of a healthy one
};

// In the order of importance. Each but the last few is also laid over all that come later.
const std::vector<ExitCase>& exit_cases() {
  static const std::vector<ExitCase> cases{
      {"admin_down", "taken out by the operator",
       [](auto& e) { e.state = HealthState::admin_down; }},
      {"device_missing", "wireguard-go: no such program",
       [](auto& e) {
         e.device = false;
         e.device_error = "wireguard-go: no such program";
         e.state = HealthState::down;
       }},
      {"device_down", "the interface is down",
       [](auto& e) {
         e.device_up = false;
         e.state = HealthState::down;
       }},
      {"device_address", "the interface has no address",
       [](auto& e) {
         e.device_address = false;
         e.state = HealthState::down;
       }},
      {"endpoint_unresolved", "the endpoint has no address yet",
       [](auto& e) {
         e = dead();
         e.endpoint.clear();
       }},
      {"udp_blocked", "UDP 51820 blocked, TLS 443 answers",
       [](auto& e) {
         e = dead();
         e.udp_answers = false;
         e.tls_answers = true;
       }},
      {"not_probed", "not probed yet",
       [](auto& e) {
         e = dead();
         e.path = PathState::init;
         e.silence.reset();
         e.echoes = 0;
       }},
      {"one_way", "our packets do not reach tethys, while its packets reach us",
       [](auto& e) {
         e = dead();
         e.unheard = true;
       }},
      {"no_handshake", "no WireGuard handshake with 192.0.2.1:51820 yet",
       [](auto& e) {
         e = dead();
         e.handshake_age.reset();
       }},
      {"handshake_old", "the last WireGuard handshake is 200 s old",
       [](auto& e) {
         e = dead();
         e.handshake_age = 200s;
       }},
      {"tunnel_silent", "no echo through the tunnel for 1.5 s", [](auto& e) { e = dead(); }},
      {"exit_uplink_down", "tunnel fine, the exit says that its uplink is down",
       [](auto& e) { e.word = ExitWord{}; }},
      {"wrong_address", "exit leaves with 203.0.113.7, expected 203.0.113.10",
       [](auto& e) {
         e.exit_address = Verdict::bad;
         e.seen_address = "203.0.113.7";
         e.expected_address = "203.0.113.10";
       }},
      {"no_internet",
       "tunnel fine, exit cannot reach the internet (0 of 2 targets answer; www.example.test:443: "
       "timeout)",
       [](auto& e) {
         e.canaries = Verdict::bad;
         e.canaries_asked = 2;
         e.canary_error = "www.example.test:443: timeout";
       }},
      {"black_hole", "path drops packets above 1400 bytes",
       [](auto& e) {
         e.full_size = Verdict::bad;
         e.path_mtu = 1400;
       }},
      {"unproven", "waiting for the proof of its exit address",
       [](auto& e) {
         e.state = HealthState::init;
         e.exit_address = Verdict::pending;
       }},
      {"suspect", "echoes are missing", [](auto& e) { e.state = HealthState::suspect; }},
      {"some_targets", "1 of 2 targets answer through it; dns a.example.test: refused",
       [](auto& e) {
         e.canaries = Verdict::partial;
         e.canaries_good = 1;
         e.canaries_asked = 2;
         e.canary_error = "dns a.example.test: refused";
       }},
      {"lossy", "4 % of the echoes are lost",
       [](auto& e) {
         e.state = HealthState::degraded;
         e.loss = 0.04;
       }},
      {"slow", "a round trip takes 90 ms, 20 ms is usual",
       [](auto& e) {
         e.state = HealthState::degraded;
         e.rtt = 90ms;
         e.baseline = 20ms;
       }},
      {"on_tls", "running on TLS since 12:03",
       [](auto& e) {
         e.state = HealthState::degraded;
         e.on_tls = true;
         e.on_tls_since = "12:03";
       }},
      {"flapping", "it works, and failed too often lately to be relied on",
       [](auto& e) {
         e.state = HealthState::hold;
         e.suppressed = true;
       }},
      {"held", "it works again, and must stay so for a while",
       [](auto& e) { e.state = HealthState::hold; }},
      {"recovering", "it answers, and is being proven",
       [](auto& e) { e.state = HealthState::down; }},
      {"ok", "echo through the tunnel in 12.3 ms", [](auto&) {}},
  };
  return cases;
}

TEST(DiagnosisOfAnExit, HasACaseForEachCodeInItsOrder) {
  std::vector<std::string> codes;
  for (const auto& one : exit_cases())
    codes.push_back(one.code);
  const auto known = exit_codes();
  EXPECT_THAT(codes, ElementsAreArray(known));
}

TEST(DiagnosisOfAnExit, SaysEachInItsWords) {
  for (const auto& one : exit_cases()) {
    ExitFindings exit = healthy();
    one.make(exit);
    EXPECT_EQ(diagnose(exit), (Diagnosis{one.code, one.phrase}));
  }
}

// What lies deeper is named, whatever else is wrong further up.
TEST(DiagnosisOfAnExit, NamesTheDeepestOfTwoTroubles) {
  const auto& cases = exit_cases();
  std::size_t tried = 0;
  for (std::size_t deep = 0; deep < cases.size(); ++deep)
    for (std::size_t shallow = deep + 1; shallow < cases.size(); ++shallow) {
      ExitFindings both = healthy();
      cases[shallow].make(both);
      const ExitFindings upper = both;
      cases[deep].make(both);
      // Some exclude each other, or replace everything: only what has stayed can compete.
      const auto code = diagnose(both).code;
      EXPECT_TRUE(code == cases[deep].code || diagnose(upper).code == code)
          << cases[deep].code << " over " << cases[shallow].code << " is " << code;
      tried += code == cases[deep].code ? 1 : 0;
    }
  EXPECT_GT(tried, 200U);
  // The ones that matter most, spelled out.
  ExitFindings exit = healthy();
  exit.canaries = Verdict::bad;
  exit.exit_address = Verdict::bad;
  EXPECT_EQ(diagnose(exit).code, "wrong_address");
  exit.path = PathState::down;
  EXPECT_EQ(diagnose(exit).code, "tunnel_silent") << "nothing is known of what lies behind it now";
  exit.udp_answers = false;
  exit.tls_answers = false;
  EXPECT_EQ(diagnose(exit).code, "tunnel_silent") << "it is not UDP that is blocked";
  exit.tls_answers = true;
  EXPECT_EQ(diagnose(exit).code, "udp_blocked");
}

TEST(DiagnosisOfAnExit, SaysThatItRunsOnTlsAndSinceWhen) {
  ExitFindings exit = healthy();
  exit.state = HealthState::degraded;
  exit.udp_answers = false;
  exit.tls_answers = true;
  exit.on_tls = true;
  exit.on_tls_since = "12:03";
  EXPECT_EQ(
      diagnose(exit),
      (Diagnosis{"udp_blocked", "UDP 51820 blocked, TLS 443 answers; running on TLS since 12:03"}));
}

TEST(DiagnosisOfAnExit, SpeaksOfInterfacesAsSuch) {
  ExitFindings exit;
  exit.tunnel = false;
  exit.state = HealthState::up;
  EXPECT_EQ(diagnose(exit).sentence, "the interface is up");
  exit.device = false;
  EXPECT_EQ(diagnose(exit).sentence, "the interface does not exist");
  exit.device = true;
  exit.canaries = Verdict::bad;
  exit.canaries_asked = 2;
  EXPECT_THAT(diagnose(exit).sentence, ::testing::StartsWith("interface up, exit cannot reach"));
}

TEST(DiagnosisOfAnExit, SaysWhyTheAddressIsNotKnown) {
  ExitFindings exit = healthy();
  exit.state = HealthState::init;
  exit.exit_address = Verdict::pending;
  exit.address_error = "timeout";
  EXPECT_EQ(diagnose(exit).sentence, "waiting for the proof of its exit address (timeout)");
}

TEST(DiagnosisOfAnExit, AHandshakeWithoutAnEchoIsSaid) {
  ExitFindings exit = dead();
  exit.silence.reset();
  EXPECT_EQ(diagnose(exit).sentence, "handshake done, but no echo through the tunnel");
}

struct NodeCase {
  std::string code;
  std::string sentence;
  std::function<void(NodeFindings&)> make;  // out of a healthy one
};

NodeFindings healthy_node() {
  NodeFindings n;
  n.exits = {healthy("tethys"), healthy("meliae")};
  n.current = 0;
  return n;
}

const std::vector<NodeCase>& node_cases() {
  static const std::vector<NodeCase> cases{
      {"routing_not_in_force", "Routing is not in force: nft is missing",
       [](auto& n) { n.routing_error = "nft is missing"; }},
      {"clock_went_back",
       "The clock went back by 3600 s: peers refuse WireGuard handshakes until it is past where it "
       "was; set it. tethys is down (no echo through the tunnel for 1.5 s).",
       [](auto& n) {
         n.clock_went_back = 3600s;
         n.exits[0] = dead("tethys");
         n.current = 1;
       }},
      {"underlay_down",
       "Underlay down: all exits fell silent at once, nothing leaves; look at this node's own "
       "line.",
       [](auto& n) {
         n.underlay_down = true;
         n.exits = {dead("tethys"), dead("meliae")};
         n.current.reset();
       }},
      {"no_exits", "No exits configured: connections leave by this node's own address.",
       [](auto& n) {
         n.exits.clear();
         n.current.reset();
       }},
      {"no_exit",
       "No exit carries traffic, nothing leaves: tethys is down (no echo through the tunnel for "
       "1.5 "
       "s); meliae is down (exit leaves with 203.0.113.7, expected 203.0.113.20).",
       [](auto& n) {
         n.exits[0] = dead("tethys");
         n.exits[1].state = HealthState::down;
         n.exits[1].exit_address = Verdict::bad;
         n.exits[1].seen_address = "203.0.113.7";
         n.exits[1].expected_address = "203.0.113.20";
         n.current.reset();
       }},
      {"standby",
       "Traffic leaves by meliae; tethys is down (no echo through the tunnel for 1.5 s).",
       [](auto& n) {
         n.exits[0] = dead("tethys");
         n.current = 1;
       }},
      {"degraded", "Traffic leaves by tethys: path drops packets above 1400 bytes.",
       [](auto& n) {
         n.exits[0].state = HealthState::degraded;
         n.exits[0].full_size = Verdict::bad;
         n.exits[0].path_mtu = 1400;
       }},
      {"target_failing",
       "Traffic leaves by tethys; postgres db.example.test:5432 does not work (connection "
       "refused).",
       [](auto& n) {
         n.targets = {{"tls www.example.test:443", "", 90},
                      {"postgres db.example.test:5432", "connection refused", std::nullopt}};
       }},
      {"certificate_expires",
       "Traffic leaves by tethys; the certificate of tls www.example.test:443 expires in 5 days.",
       [](auto& n) { n.targets = {{"tls www.example.test:443", "", 5}}; }},
      {"spare_down",
       "Traffic leaves by tethys; meliae is down (no echo through the tunnel for 1.5 s).",
       [](auto& n) { n.exits[1] = dead("meliae"); }},
      {"ok", "Traffic leaves by tethys.", [](auto&) {}},
  };
  return cases;
}

TEST(DiagnosisOfANode, HasACaseForEachCodeInItsOrder) {
  std::vector<std::string> codes;
  for (const auto& one : node_cases())
    codes.push_back(one.code);
  const auto known = node_codes();
  EXPECT_THAT(codes, ElementsAreArray(known));
}

TEST(DiagnosisOfANode, SaysEachInItsWords) {
  for (const auto& one : node_cases()) {
    NodeFindings node = healthy_node();
    one.make(node);
    EXPECT_EQ(diagnose(node), (Diagnosis{one.code, one.sentence}));
  }
}

TEST(DiagnosisOfANode, ALineWithoutARouteIsSaid) {
  NodeFindings node = healthy_node();
  node.underlay_down = true;
  node.default_route = false;
  node.exits = {dead("tethys"), dead("meliae")};
  node.current.reset();
  EXPECT_EQ(diagnose(node).sentence,
            "Underlay down: this node has no default route, nothing leaves.");
}

TEST(DiagnosisOfANode, WhatCarriesComesBeforeWhatIsOnlySpare) {
  NodeFindings node = healthy_node();
  node.exits[1] = dead("meliae");
  node.exits[0].state = HealthState::degraded;
  node.exits[0].loss = 0.1;
  EXPECT_EQ(diagnose(node).code, "degraded");
  node.exits[0].state = HealthState::up;
  node.targets = {{"tcp a.example.test:22", "timeout", std::nullopt}};
  EXPECT_EQ(diagnose(node).code, "target_failing");
}

TEST(DiagnosisOfANode, AClockThatWentBackIsNoTroubleWhileTunnelsCarry) {
  NodeFindings node = healthy_node();
  node.clock_went_back = 60s;
  EXPECT_EQ(diagnose(node).code, "ok");
}

TEST(DiagnosisOfANode, AnExitTakenOutOnPurposeIsNoTrouble) {
  NodeFindings node = healthy_node();
  node.exits[0].state = HealthState::admin_down;
  node.current = 1;
  EXPECT_EQ(diagnose(node), (Diagnosis{"ok", "Traffic leaves by meliae."}));
}

TEST(DiagnosisOfANode, AGatewayWithoutExitsStillHasTargets) {
  NodeFindings node;
  node.targets = {{"tls www.example.test:443", "", -1}};
  EXPECT_EQ(diagnose(node).sentence,
            "No exits configured; the certificate of tls www.example.test:443 has expired.");
}

TEST(Diagnosis, CodesAreDistinct) {
  for (const auto& codes : {exit_codes(), node_codes()})
    EXPECT_EQ(std::set<std::string_view>(codes.begin(), codes.end()).size(), codes.size());
}

}  // namespace
}  // namespace oceanid::tunnel
