#include "gateway/process/routing_inputs.hpp"

#include "routing/core/plan.hpp"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

namespace oceanid::process {
namespace {

IpAddress ip(const char* text) {
  return IpAddress::parse(text).value();
}
Prefix net(const char* text) {
  return Prefix::parse(text).value();
}
IfName dev(const char* text) {
  return IfName::parse(text).value();
}

routing::LinkFacts link(const char* name, const char* address, unsigned length,
                        const char* network) {
  routing::LinkFacts out;
  out.name = dev(name);
  out.up = true;
  out.carrier = true;
  routing::AddressFacts facts;
  facts.local = {ip(address), length};
  facts.network = net(network);
  out.addresses.push_back(facts);
  return out;
}

struct Scene {
  Config config;
  routing::HostFacts facts;
  Scene() {
    config.routing.emplace();
    config.routing->sources = {net("10.42.0.0/24")};
    config.routing->interfaces = {dev("cni0")};
    config.serve_exit.emplace();
    config.serve_exit->uplink = dev("eth0");
    config.tunnel.emplace();
    config.tunnel->addresses = {ip("10.99.0.1")};
    tunnel::PeerSettings peer;
    peer.name = "meliae";
    peer.addresses = {ip("10.99.0.2")};
    peer.networks = {net("10.42.2.0/24")};
    config.tunnel->peers.push_back(peer);
    ExitSettings self;
    self.name = "tethys";
    self.self = true;
    ExitSettings other;
    other.name = "meliae";
    other.peer = "meliae";
    config.exits = {self, other};
    facts.links = {link("eth0", "203.0.113.10", 28, "203.0.113.0/28"),
                   link("cni0", "10.42.0.1", 24, "10.42.0.0/24"),
                   link("oc-hub", "10.99.0.1", 32, "10.99.0.1/32")};
    routing::DefaultRoute route;
    route.device = dev("eth0");
    route.gateway = ip("203.0.113.1");
    facts.defaults = {route};
  }
};

TEST(RoutingInputs, TakeTheSelfExitsNextHopFromTheMainTable) {
  const Scene scene;
  const auto inputs = routing_inputs(scene.config, scene.facts, {}, {}, {});
  ASSERT_EQ(inputs.exits.size(), 2U);
  EXPECT_TRUE(inputs.exits[0].self);
  EXPECT_EQ(inputs.exits[0].gateway4, ip("203.0.113.1"));
  EXPECT_EQ(inputs.exits[1].device, dev("oc-meliae"));
  EXPECT_TRUE(inputs.exits[1].tunnel);
  EXPECT_EQ(inputs.uplink_source4, ip("203.0.113.10"));
}

TEST(RoutingInputs, LinksOfAFormerLifeAreTakenAsTheyAre) {
  Scene scene;
  auto& hub = scene.facts.links.back();
  hub.mtu = 1408;
  hub.kind = "wireguard";
  const auto of = [&](const char* name) {
    auto tunnels = found_tunnels(scene.config, scene.facts);
    const auto found = std::ranges::find(tunnels, dev(name), &tunnel::TunnelStatus::device);
    return found == tunnels.end() ? tunnel::TunnelStatus() : *found;
  };
  scene.config.tunnel->listen = 51820;
  scene.config.tunnel->peers.front().public_key = std::string(43, 'A') + "=";
  EXPECT_TRUE(of("oc-hub").present);
  EXPECT_EQ(of("oc-hub").mtu, 1408U);
  EXPECT_EQ(of("oc-hub").peers.at(0).mtu, 1408U);
  EXPECT_EQ(of("oc-hub").backend, "kernel");
  hub.up = false;
  EXPECT_FALSE(of("oc-hub").present);
  hub.name = dev("eth9");
  EXPECT_FALSE(of("oc-hub").present);
  EXPECT_NE(of("oc-hub").mtu, 1408U);
}

TEST(RoutingInputs, APeerBehindAnotherIsSeenOnThatOnesLinks) {
  Scene scene;
  scene.config.tunnel->overlay = true;
  tunnel::PeerSettings far;
  far.name = "calypso";
  far.addresses = {ip("10.99.0.4")};
  far.networks = {net("10.42.3.0/24")};
  far.via = "meliae";
  scene.config.tunnel->peers.push_back(far);
  tunnel::TunnelStatus hub;
  hub.device = dev("oc-hub");
  hub.hub = true;
  hub.peers.emplace_back().name = "meliae";
  hub.peers.back().mtu = 1380;
  const auto inputs = routing_inputs(scene.config, scene.facts, {hub}, {}, {});
  EXPECT_TRUE(inputs.overlay);
  ASSERT_EQ(inputs.links.size(), 1U);
  ASSERT_EQ(inputs.links[0].peers.size(), 2U);
  EXPECT_FALSE(inputs.links[0].peers[0].addresses.empty());
  const auto& behind = inputs.links[0].peers[1];
  EXPECT_EQ(behind.name, "calypso");
  EXPECT_TRUE(behind.addresses.empty()) << "it has no tunnel to us";
  EXPECT_EQ(behind.mtu, 1380U);
  EXPECT_EQ(behind.networks, (std::vector<Prefix>{net("10.42.3.0/24"), net("10.99.0.4/32")}));
}

TEST(RoutingInputs, OnlyDevicesThatExistMaySkipTheRulesAndOnlyWhereAskedFor) {
  Scene scene;
  const auto fast = [&] {
    using Kind = routing::FastDevice::Kind;
    const std::map<Kind, std::string> kinds{
        {Kind::pods, "pods"}, {Kind::exit, "exit"}, {Kind::hub, "hub"}, {Kind::uplink, "uplink"}};
    std::string out;
    for (const auto& device : routing_inputs(scene.config, scene.facts, {}, {}, {}).fast)
      out += device.name.str() + " " + std::to_string(device.index) + " " + kinds.at(device.kind) +
             (device.tracked ? " tracked; " : "; ");
    return out;
  };
  scene.facts.links[0].index = 2;
  scene.facts.links[1].index = 4;
  scene.facts.links[2].index = 10;
  EXPECT_EQ(fast(), "") << "not asked for";
  scene.config.routing->flowtable = true;
  EXPECT_EQ(fast(), "cni0 4 pods; ") << "no tunnel yet";
  scene.facts.links.push_back(link("oc-meliae", "10.99.0.1", 32, "10.99.0.1/32"));
  scene.facts.links.back().index = 9;
  scene.facts.links[1].tracked = true;
  EXPECT_EQ(fast(), "cni0 4 pods tracked; oc-meliae 9 exit; ");

  scene.config.routing->flowtable = false;
  scene.config.serve_exit->flowtable = true;
  EXPECT_EQ(fast(), "cni0 4 pods tracked; oc-hub 10 hub; eth0 2 uplink; ");
  scene.config.exits.erase(scene.config.exits.begin());
  EXPECT_EQ(fast(), "oc-hub 10 hub; eth0 2 uplink; ") << "pods take another exit";
}

TEST(RoutingInputs, OfBridgesOnlyThoseThatBringWhatIsInterceptedMatter) {
  Scene scene;
  scene.config.proxy.listeners.emplace_back().intercept.emplace().sources = {net("10.42.0.0/24")};
  scene.facts.links.push_back(link("docker0", "172.17.0.1", 16, "172.17.0.0/16"));
  for (auto& one : scene.facts.links)
    one.tracked = one.name != dev("eth0");
  const auto bridges = [&] {
    return routing_inputs(scene.config, scene.facts, {}, {}, {}).tracked_bridges;
  };
  EXPECT_EQ(bridges(), std::vector{dev("cni0")});
  scene.config.routing.reset();
  EXPECT_EQ(bridges(), std::vector{dev("cni0")}) << "by its address";
  scene.config.proxy.listeners.back().intercept->sources = {net("192.0.2.0/24")};
  EXPECT_TRUE(bridges().empty());
}

// Their sockets are bound to the exit's device, whose table every exit has, named by a role or not.
TEST(RoutingInputs, RolesAndForwardsThatArePinnedAskNothingMoreOfTheKernel) {
  Scene scene;
  scene.config.forwards.emplace_back().bind = SocketAddress::parse("[::]:5432").value();
  const auto plan = [&] {
    return routing::to_text(
        routing::plan(routing_inputs(scene.config, scene.facts, {}, {}, ExitTable{})));
  };
  const std::string before = plan();
  EXPECT_NE(before.find("oif oc-meliae lookup 13130"), std::string::npos) << before;
  proxy::Role& role = scene.config.proxy.policy.roles.emplace_back();
  role.name = "partner";
  role.sources = {net("10.42.0.7/32")};
  role.exit = std::vector<std::string>{"meliae"};
  scene.config.forwards[0].exit = std::vector<std::string>{"meliae", "tethys"};
  EXPECT_EQ(plan(), before);
}

TEST(RoutingInputs, CountOnlyTheUnderlayAsOnLink) {
  const Scene scene;
  const auto inputs = routing_inputs(scene.config, scene.facts, {}, {}, {});
  EXPECT_EQ(inputs.on_link, std::vector<Prefix>{net("203.0.113.0/28")});
}

TEST(RoutingInputs, LocalAddressesLeaveOutOurOwnLinks) {
  const Scene scene;
  EXPECT_EQ(local_addresses_of(scene.facts),
            (std::vector<IpAddress>{ip("203.0.113.10"), ip("10.42.0.1")}));
}

TEST(RoutingInputs, ATunnelCarriesAFamilyOnlyWhenBothEndsHaveIt) {
  Scene scene;
  EXPECT_TRUE(carries(scene.config, "meliae", Family::v4));
  EXPECT_FALSE(carries(scene.config, "meliae", Family::v6));
  scene.config.tunnel->addresses.push_back(ip("fd99::1"));
  EXPECT_FALSE(carries(scene.config, "meliae", Family::v6));
  scene.config.tunnel->peers[0].addresses.push_back(ip("fd99::2"));
  EXPECT_TRUE(carries(scene.config, "meliae", Family::v6));
  EXPECT_FALSE(carries(scene.config, "unknown", Family::v4));
}

TEST(RoutingInputs, AListenerIsGuardedWhereItListens) {
  Scene scene;
  scene.config.proxy.listeners.clear();
  for (const char* bind : {"[::]:3128", "127.0.0.1:5432"})
    scene.config.proxy.listeners.emplace_back().bind = SocketAddress::parse(bind).value();
  const auto guarded = routing_inputs(scene.config, scene.facts, {}, {}, {}).guarded_ports;
  ASSERT_EQ(guarded.size(), 2U);
  EXPECT_EQ(guarded[0].address, std::nullopt);
  EXPECT_EQ(guarded[1].address, ip("127.0.0.1"));
}

TEST(RoutingInputs, TheUnderlayMarkIsBitFourOfTheMask) {
  Scene scene;
  EXPECT_EQ(underlay_mark(scene.config), (Mark{0x04000000, 0x0f000000}));
  scene.config.routing->mark = Mark{0x10, 0xf0};
  EXPECT_EQ(underlay_mark(scene.config), (Mark{0x40, 0xf0}));
}

}  // namespace
}  // namespace oceanid::process
