// What `check --system` says about a host, case by case: the host as a value, nft's listing as
// text.

#include "routing/core/host_check.hpp"

#include "plan_inputs.hpp"
#include "routing/edge/host_survey.hpp"
#include "routing/edge/nft_listing.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

namespace oceanid::routing {
namespace {

using examples::name;
using examples::prefix;
using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

auto finds(Severity severity, const std::string& what, const std::string& remedy = "") {
  return Contains(AllOf(Field(&Finding::severity, severity), Field(&Finding::what, HasSubstr(what)),
                        Field(&Finding::remedy, HasSubstr(remedy))));
}

// A host where nothing is in the way.
HostState fine_host() {
  HostState host;
  host.nft.emplace();
  host.sysctls = {{"net/ipv4/ip_forward", "1"},
                  {"net/ipv4/conf/all/rp_filter", "2"},
                  {"net/ipv4/conf/all/src_valid_mark", "1"},
                  {"net/netfilter/nf_conntrack_max", "262144"},
                  {"net/netfilter/nf_conntrack_count", "1000"}};
  host.memory_bytes = std::uint64_t{4} << 30;
  host.features = {{"nft", true}, {"nft_inet_nat", true}, {"wireguard", true}, {"tun", true}};
  ForeignRule local;
  local.table = 255;
  ForeignRule main = local;
  main.priority = 32766;
  main.table = 254;
  host.rules = {local, main};
  return host;
}

TEST(HostCheck, NothingIsInTheWay) {
  for (const auto& [example, in] : examples::all())
    EXPECT_THAT(judge_host(in, fine_host()),
                Not(Contains(Field(&Finding::severity, Not(Severity::ok)))))
        << example;
}

ClosedChain closed(const char* hook, Firewall kind) {
  ClosedChain out;
  out.family = "inet";
  out.table = "filter";
  out.chain = hook;
  out.hook = hook;
  out.kind = kind;
  return out;
}

TEST(HostCheck, AClosedInputChainIsNamedWithTheCommandThatOpensIt) {
  HostState host = fine_host();
  host.nft->closed = {closed("input", Firewall::plain)};
  auto found = judge_host(examples::tethys(), host);
  EXPECT_THAT(found, finds(Severity::error, "UDP port 51820",
                           "nft insert rule inet filter input udp dport 51820 accept"));
  EXPECT_THAT(found, finds(Severity::error, "TCP port 3128", "tcp dport 3128 accept"));
  EXPECT_THAT(found, finds(Severity::error, "UDP port 51821", "udp dport 51821"));
  host.nft->closed[0].kind = Firewall::ufw;
  EXPECT_THAT(judge_host(examples::tethys(), host),
              finds(Severity::error, "UDP port 51820", "ufw allow 51820/udp"));
  host.nft->closed[0].kind = Firewall::firewalld;
  EXPECT_THAT(
      judge_host(examples::tethys(), host),
      finds(Severity::error, "UDP port 51820", "firewall-cmd --permanent --add-port=51820/udp"));
  host.nft->closed[0].ports = {{true, 51800, 51900}, {false, 3128, 3128}};
  found = judge_host(examples::tethys(), host);
  EXPECT_THAT(found, Not(Contains(Field(&Finding::severity, Severity::error))));
}

TEST(HostCheck, AWorkerNeedsNoOpenTunnelPort) {
  HostState host = fine_host();
  host.nft->closed = {closed("input", Firewall::plain)};
  EXPECT_THAT(judge_host(examples::styx(), host), Not(finds(Severity::error, "UDP port")));
}

TEST(HostCheck, AClosedForwardChainMustLetPodsThrough) {
  HostState host = fine_host();
  host.nft->closed = {closed("forward", Firewall::ufw)};
  EXPECT_THAT(
      judge_host(examples::styx(), host),
      finds(Severity::error, "pods send in by cni0 is refused", "ufw route allow in on cni0"));
  host.nft->closed[0].sources = {prefix("10.42.0.0/16")};
  EXPECT_THAT(judge_host(examples::styx(), host), finds(Severity::ok, "pods send in by cni0"));
  // An exit's clients come in by the hub.
  EXPECT_THAT(judge_host(examples::tethys(), host),
              finds(Severity::error, "clients send in by oc-hub is refused"));
}

struct RuleCase {
  const char* what;
  std::uint32_t priority;
  std::optional<Mark> mark;
  bool narrow;
  bool expected;
};

TEST(HostCheck, RulesAmongOursAndBeforeUs) {
  const RuleCase cases[] = {
      {"among ours", 5150, Mark{1, 1}, true, true},
      {"the first of ours", 5100, std::nullopt, false, true},
      {"behind ours", 5191, std::nullopt, false, false},
      {"before us, for everybody", 100, std::nullopt, false, true},
      {"before us, by mark", 100, Mark{0x200, 0xffff}, false, false},
      {"before us, for sockets of an output device", 1000, std::nullopt, true, false},
      {"the local table", 0, std::nullopt, false, false}};
  for (const RuleCase& one : cases) {
    HostState host = fine_host();
    ForeignRule rule;
    rule.priority = one.priority;
    rule.mark = one.mark;
    rule.narrow = one.narrow;
    rule.table = 77;
    host.rules.push_back(rule);
    const auto found = judge_host(examples::styx(), host);
    EXPECT_EQ(std::ranges::any_of(found,
                                  [](const Finding& finding) {
                                    return finding.topic == "rules" &&
                                           finding.severity == Severity::error;
                                  }),
              one.expected)
        << one.what;
  }
}

TEST(HostCheck, ARuleForOtherSourcesOrInterfacesCatchesNoPod) {
  HostState host = fine_host();
  ForeignRule rule;
  rule.priority = 100;
  rule.from = prefix("192.168.7.0/24");
  host.rules.push_back(rule);
  rule.from.reset();
  rule.iif = name("wlan0");
  host.rules.push_back(rule);
  EXPECT_THAT(judge_host(examples::styx(), host),
              finds(Severity::ok, "preferences 5100 to 5190 are free"));
}

// An exit without pods, and a node with nothing but tunnels, have the numbers that are the
// defaults.
TEST(HostCheck, NumbersAreLookedAtWithoutRouting) {
  HostState host = fine_host();
  ForeignRule rule;
  rule.priority = 5120;
  rule.table = 77;
  host.rules.push_back(rule);
  host.tables = {{13129, false}};
  host.nft->marks = {{"ip mangle PREROUTING", RoutingSettings{}.mark.mask, true}};
  std::size_t looked = 0;
  for (const auto& [example, in] : examples::all()) {
    if (in.routing || in.links.empty()) continue;
    ++looked;
    const auto found = judge_host(in, host);
    EXPECT_THAT(found, finds(Severity::error, "5120", "ip -4 rule del pref 5120")) << example;
    EXPECT_THAT(found, finds(Severity::error, "routing table 13129 holds", "table of its own"))
        << example;
    EXPECT_THAT(found, finds(Severity::error, "overwrites bits of our mark", "give the other"))
        << example;
    EXPECT_THAT(found, Not(finds(Severity::error, "", "set routing."))) << example;
  }
  EXPECT_GE(looked, 2U);
  EXPECT_THAT(judge_host({}, host), Not(Contains(Field(&Finding::topic, "rules"))))
      << "nothing of ours is there";
}

TEST(HostCheck, TablesAndMarksInUse) {
  HostState host = fine_host();
  host.tables = {{13128, false}, {99, true}};
  host.nft->marks = {{"ip mangle PREROUTING", 0x00004000, true},
                     {"inet vpn out", 0x03000000, true}};
  ForeignRule rule;
  rule.priority = 6000;
  rule.mark = Mark{0xca6c, 0xffffffff};
  host.rules.push_back(rule);
  const auto found = judge_host(examples::styx(), host);
  EXPECT_THAT(found, finds(Severity::error, "routing table 13128", "routing.table"));
  EXPECT_THAT(found, Not(finds(Severity::error, "routing table 99")));
  EXPECT_THAT(found,
              finds(Severity::error, "inet vpn out overwrites bits of our mark (0x03000000)"));
  EXPECT_THAT(found, Not(finds(Severity::error, "PREROUTING")));
  EXPECT_THAT(found, finds(Severity::warn, "rule 6000", "routing.mark"));
}

TEST(HostCheck, NeighboursAreNamed) {
  HostState host = fine_host();
  host.networkd.emplace();
  host.networkd->routes = false;
  host.tables = {{52, true}};
  host.nft->early_nat = {"inet vpn post"};
  host.service_address = examples::address("10.96.0.1");
  const auto found = judge_host(examples::styx(), host);
  EXPECT_THAT(found,
              finds(Severity::warn, "ManageForeignRoutingPolicyRules, ManageForeignNextHops not",
                    "/etc/systemd/networkd.conf.d/oceanid.conf"));
  EXPECT_THAT(found,
              finds(Severity::error, "exit node of its tailnet", "tailscale set --exit-node="));
  EXPECT_THAT(found, finds(Severity::warn, "inet vpn post translates"));
  EXPECT_THAT(found, finds(Severity::error, "10.96.0.1", "routing.bypass"));
  host.networkd = Networkd{false, false, false};
  EXPECT_THAT(judge_host(examples::styx(), host), finds(Severity::ok, "leaves foreign routes"));
}

TEST(HostCheck, TheKernelsSettings) {
  HostState host = fine_host();
  host.sysctls["net/ipv4/ip_forward"] = "0";
  host.sysctls["net/ipv4/conf/eth0/rp_filter"] = "1";
  host.sysctls["net/ipv4/conf/all/src_valid_mark"] = "0";
  host.sysctls["net/netfilter/nf_conntrack_max"] = "65536";
  host.sysctls["net/netfilter/nf_conntrack_count"] = "64000";
  host.memory_bytes = std::uint64_t{64} << 20;
  auto found = judge_host(examples::tethys(), host);
  EXPECT_THAT(found, finds(Severity::warn, "net.ipv4.ip_forward is off",
                           "sysctl -w net.ipv4.ip_forward=1"));
  EXPECT_THAT(found, finds(Severity::warn, "net.ipv4.conf.eth0.rp_filter=1", "src_valid_mark=1"));
  EXPECT_THAT(found,
              finds(Severity::error, "64000 of 65536 connections", "nf_conntrack_max=262144"));
  EXPECT_THAT(found, finds(Severity::warn, "more than a quarter of the memory"));
  host.sysctls_writable = false;
  EXPECT_THAT(judge_host(examples::tethys(), host),
              finds(Severity::error, "net.ipv4.ip_forward is off"));
}

TEST(HostCheck, RoutersAreHeardByAKernelThatForwards) {
  HostState host = fine_host();
  host.sysctls["net/ipv6/conf/all/forwarding"] = "0";
  host.sysctls["net/ipv6/conf/eth0/accept_ra"] = "1";
  EXPECT_THAT(judge_host(examples::dual_stack(), host),
              finds(Severity::ok, "net.ipv6.conf.eth0.accept_ra=1", ""));
  EXPECT_THAT(judge_host(examples::styx(), host), Not(finds(Severity::ok, "accept_ra")));
  host.sysctls_writable = false;
  EXPECT_THAT(judge_host(examples::dual_stack(), host),
              finds(Severity::error, "may not change it", "net.ipv6.conf.eth0.accept_ra=2"));
  host.sysctls["net/ipv6/conf/eth0/accept_ra"] = "0";
  EXPECT_THAT(judge_host(examples::dual_stack(), host),
              Not(finds(Severity::error, "may not change it")));
}

TEST(HostCheck, Ipv6NeedsItsMtu) {
  HostState host = fine_host();
  LinkFacts bridge;
  bridge.name = name("cni0");
  bridge.mtu = 1230;
  host.facts.links = {bridge};
  EXPECT_THAT(judge_host(examples::dual_stack(), host),
              finds(Severity::error, "cni0 has an MTU of 1230"));
  EXPECT_THAT(judge_host(examples::styx(), host), Not(finds(Severity::error, "cni0 has an MTU")));
}

TEST(HostCheck, AnOverlayOnTunnelAddressesMustFitTheSmallestTunnel) {
  HostState host = fine_host();
  LinkFacts wide;
  wide.name = name("oc-tethys");
  wide.mtu = 1420;
  LinkFacts narrow = wide;
  narrow.name = name("oc-meliae");
  narrow.mtu = 1372;
  host.facts.links = {wide, narrow};
  host.overlays = {{name("flannel.1"), 1322, examples::address("10.99.0.3")}};
  const auto told = [&] { return judge_host(examples::styx(), host); };
  EXPECT_THAT(told(), finds(Severity::ok, "flannel.1 with 1322 fits oc-meliae"));
  host.overlays[0].mtu = 1323;
  EXPECT_THAT(told(), finds(Severity::warn, "flannel.1 has an MTU of 1323", "1322 or less"));
  host.overlays[0].outer = examples::address("100.64.0.3");
  EXPECT_THAT(told(), Not(finds(Severity::warn, "flannel.1"))) << "it runs on something else";
}

TEST(HostCheck, MissingFeaturesHaveARemedy) {
  HostState host = fine_host();
  host.features = {{"nft", false}, {"wireguard", false}, {"tun", false}, {"flowtable", false}};
  auto found = judge_host(examples::styx(), host);
  EXPECT_THAT(found, finds(Severity::error, "the nft program is not there", "nftables"));
  EXPECT_THAT(found, finds(Severity::error, "nothing here can carry a tunnel", "wireguard-go"));
  EXPECT_THAT(found, Not(finds(Severity::warn, "flowtables"))) << "nobody asked for them";
  Inputs in = examples::styx();
  in.routing->flowtable = true;
  EXPECT_THAT(judge_host(in, host), finds(Severity::warn, "flowtables are not there",
                                          "modprobe -a nft_flow_offload nf_flow_table_inet"));
  host.features["flowtable"] = true;
  EXPECT_THAT(judge_host(in, host), finds(Severity::ok, "flowtables are there"));
}

constexpr const char* listing = R"({"nftables":[{"metainfo":{"version":"1.0.6"}},
{"table":{"family":"inet","name":"filter","handle":1}},
{"set":{"family":"inet","name":"open","table":"filter","type":"inet_service","elem":[22,{"range":[3100,3200]}]}},
{"chain":{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","prio":0,"policy":"drop"}},
{"chain":{"family":"inet","table":"filter","name":"forward","type":"filter","hook":"forward","prio":0,"policy":"accept"}},
{"chain":{"family":"inet","table":"filter","name":"output","type":"filter","hook":"output","prio":0,"policy":"accept"}},
{"rule":{"family":"inet","table":"filter","chain":"input","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"@open"}},{"accept":null}]}},
{"rule":{"family":"inet","table":"filter","chain":"input","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":{"set":[51820]}}},{"counter":{"packets":0,"bytes":0}},{"accept":null}]}},
{"rule":{"family":"inet","table":"filter","chain":"forward","expr":[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established"]}},{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"eth0"}},{"accept":null}]}},
{"rule":{"family":"inet","table":"filter","chain":"forward","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"prefix":{"addr":"10.42.0.0","len":16}}}},{"accept":null}]}},
{"rule":{"family":"inet","table":"filter","chain":"forward","expr":[{"counter":{"packets":0,"bytes":0}},{"reject":{"type":"icmpx","expr":"admin-prohibited"}}]}},
{"rule":{"family":"inet","table":"filter","chain":"output","expr":[{"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"eth9"}},{"drop":null}]}},
{"table":{"family":"ip","name":"mangle","handle":2}},
{"chain":{"family":"ip","table":"mangle","name":"PRE","type":"filter","hook":"prerouting","prio":-150,"policy":"accept"}},
{"rule":{"family":"ip","table":"mangle","chain":"PRE","expr":[{"mangle":{"key":{"meta":{"key":"mark"}},"value":{"|":[{"&":[{"meta":{"key":"mark"}},4294950911]},16384]}}}]}},
{"rule":{"family":"ip","table":"mangle","chain":"PRE","expr":[{"match":{"op":"==","left":{"&":[{"meta":{"key":"mark"}},16711680]},"right":262144}},{"accept":null}]}},
{"rule":{"family":"ip","table":"mangle","chain":"PRE","expr":[{"mangle":{"key":{"ct":{"key":"mark"}},"value":7}}]}},
{"table":{"family":"inet","name":"oceanid","handle":3}},
{"chain":{"family":"inet","table":"oceanid","name":"own","type":"filter","hook":"input","prio":-5,"policy":"drop"}},
{"table":{"family":"inet","name":"vpn","handle":4}},
{"chain":{"family":"inet","table":"vpn","name":"post","type":"nat","hook":"postrouting","prio":90,"policy":"accept"}},
{"rule":{"family":"inet","table":"vpn","chain":"post","expr":[{"masquerade":null}]}},
{"table":{"family":"ip","name":"nat","handle":5}},
{"chain":{"family":"ip","table":"nat","name":"FLANNEL-POSTRTG"}},
{"rule":{"family":"ip","table":"nat","chain":"FLANNEL-POSTRTG","expr":[{"masquerade":{"flags":"fully-random"}}]}}
]})";

TEST(NftListing, ForeignChainsMarksAndTranslation) {
  const auto survey = survey_of_listing(listing);
  ASSERT_TRUE(survey) << survey.error().what;
  ASSERT_EQ(survey->closed.size(), 2U) << "ours is no foreign one, and a condition refuses not all";
  const ClosedChain& input = survey->closed[0];
  EXPECT_EQ(input.hook, "input");
  EXPECT_THAT(input.ports,
              testing::ElementsAre(PortRange{false, 22, 22}, PortRange{false, 3100, 3200},
                                   PortRange{true, 51820, 51820}));
  EXPECT_EQ(survey->closed[1].hook, "forward") << "an unconditional refusal at its end";
  EXPECT_THAT(survey->closed[1].sources, testing::ElementsAre(prefix("10.42.0.0/16")));
  EXPECT_THAT(survey->closed[1].interfaces, testing::IsEmpty()) << "answers only";
  EXPECT_THAT(survey->marks,
              testing::UnorderedElementsAre(MarkUse{"ip mangle PRE", 0x4000, true},
                                            MarkUse{"ip mangle PRE", 0xff0000, false},
                                            MarkUse{"ip mangle PRE", 0xffffffff, true}));
  EXPECT_THAT(survey->early_nat, testing::ElementsAre("inet vpn post"));
  EXPECT_TRUE(survey->flannel_masquerade);
}

// As firewalld 1.3 with its nftables backend writes them: no policy, a reject at the end.
TEST(NftListing, FirewalldIsKnownByItsTable) {
  const auto survey = survey_of_listing(R"({"nftables":[
{"table":{"family":"inet","name":"firewalld","handle":1}},
{"chain":{"family":"inet","table":"firewalld","name":"filter_INPUT","type":"filter","hook":"input","prio":10,"policy":"accept"}},
{"chain":{"family":"inet","table":"firewalld","name":"filter_IN_public_allow"}},
{"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","expr":[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}},{"accept":null}]}},
{"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","expr":[{"jump":{"target":"filter_INPUT_ZONES"}}]}},
{"rule":{"family":"inet","table":"firewalld","chain":"filter_INPUT","expr":[{"reject":{"type":"icmpx","expr":"admin-prohibited"}}]}},
{"rule":{"family":"inet","table":"firewalld","chain":"filter_IN_public_allow","expr":[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":22}},{"accept":null}]}}
]})");
  ASSERT_TRUE(survey) << survey.error().what;
  ASSERT_EQ(survey->closed.size(), 1U);
  EXPECT_EQ(survey->closed[0].kind, Firewall::firewalld);
  EXPECT_THAT(survey->closed[0].ports, testing::ElementsAre(PortRange{false, 22, 22}));
  HostState host = fine_host();
  host.nft = *survey;
  EXPECT_THAT(judge_host(examples::tethys(), host),
              finds(Severity::error, "inet firewalld filter_INPUT refuses",
                    "firewall-cmd --permanent --add-port=51820/udp && firewall-cmd --reload"));
}

TEST(HostCheck, WhatIsTakenAsItIsComesByItsOwnPort) {
  HostState host = fine_host();
  host.nft->closed = {closed("input", Firewall::plain)};
  EXPECT_THAT(judge_host(examples::assigning(), host),
              finds(Severity::error, "TCP port 443 (what a transparent listener takes) is closed",
                    "tcp dport 443 accept"));
  EXPECT_THAT(judge_host(examples::intercepting(), host), Not(finds(Severity::error, "port 443")));
  host.features["nft_tproxy"] = false;
  EXPECT_THAT(judge_host(examples::assigning(), host),
              finds(Severity::error, "nftables' tproxy statement is not there", "nft_tproxy"));
}

TEST(NftListing, NonsenseIsAnError) {
  for (const auto* text : {"", "{}", "[]", "{\"nftables\":7}", "{\"nftables\":[{\"rule\""})
    EXPECT_FALSE(survey_of_listing(text)) << text;
  for (
      const auto* text :
      {R"({"nftables":[7,{"rule":7},{"rule":{"expr":[7,{"match":7},{"match":{"left":7,"right":{}}},{"mangle":{"key":7,"value":7}}]}},{"chain":{"hook":1,"prio":"x"}}]})"})
    EXPECT_TRUE(survey_of_listing(text)) << text;
}

TEST(NetworkdFiles, TheLastWordCounts) {
  namespace fs = std::filesystem;
  std::string made = (fs::temp_directory_path() / "oceanid-networkd-XXXXXX").string();
  const fs::path root = ::mkdtemp(made.data());
  const auto write = [&](const std::string& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  EXPECT_FALSE(read_networkd(root.string())) << "it does not run";
  write("run/systemd/netif/state", "OPER_STATE=routable\n");
  EXPECT_EQ(read_networkd(root.string()), Networkd{});
  write("etc/systemd/networkd.conf",
        "[Network]\nManageForeignRoutes=no\n#ManageForeignNextHops=no\n");
  write("usr/lib/systemd/networkd.conf.d/50-a.conf",
        "[DHCPv4]\nManageForeignNextHops=no\n[Network]\nManageForeignRoutingPolicyRules = off\n");
  EXPECT_EQ(read_networkd(root.string()), (Networkd{false, false, std::nullopt}));
  write("etc/systemd/networkd.conf.d/60-b.conf", "[Network]\nManageForeignRoutes=yes\n");
  EXPECT_EQ(read_networkd(root.string()), (Networkd{true, false, std::nullopt}));
  write("etc/systemd/networkd.conf.d/50-a.conf", "");  // hides the one in /usr/lib
  EXPECT_EQ(read_networkd(root.string()), (Networkd{true, std::nullopt, std::nullopt}));
  fs::remove_all(root);
}

}  // namespace
}  // namespace oceanid::routing
