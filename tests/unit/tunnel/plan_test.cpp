#include "tunnel/core/plan.hpp"

#include "make.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

PeerSettings peer(const std::string& peer_name, std::uint8_t seed, bool dialled) {
  PeerSettings settings;
  settings.name = peer_name;
  settings.public_key = public_key(seed).to_base64();
  if (dialled) settings.endpoint = HostPort{peer_name + ".example.net", 51820};
  settings.addresses = {IpAddress::v4({10, 99, 0, seed})};
  return settings;
}

ExitSettings exit_by(const std::string& peer_name) {
  ExitSettings exit;
  exit.name = peer_name;
  exit.peer = peer_name;
  return exit;
}

std::vector<std::string> names(const std::vector<DesiredDevice>& devices) {
  std::vector<std::string> result;
  for (const DesiredDevice& device : devices)
    result.push_back(device.name.str());
  return result;
}

TEST(Plan, AHubForEverybodyAndADeviceForEachThatWeDial) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true), peer("calypso", 4, false), peer("meliae", 2, true)};
  const auto devices = plan(settings, {}, {}, {});
  ASSERT_TRUE(devices);
  EXPECT_THAT(names(*devices), ElementsAre("oc-hub", "oc-tethys", "oc-meliae"));
  const DesiredDevice& hub = devices->front();
  EXPECT_TRUE(hub.hub);
  EXPECT_EQ(hub.listen_port, 51820);
  ASSERT_THAT(hub.peers, SizeIs(3)) << "those that we dial dial us as well";
  for (const DesiredPeer& on_hub : hub.peers) {
    EXPECT_FALSE(on_hub.endpoint);
    EXPECT_EQ(on_hub.keepalive.count(), 0);
  }
  EXPECT_EQ(devices->at(1).listen_port, 0);
  EXPECT_EQ(devices->at(1).peers.front().keepalive.count(), 25);
}

TEST(Plan, NoHubWhenNobodyDialsUs) {
  TunnelSettings settings;
  settings.listen.reset();
  settings.peers = {peer("tethys", 1, true)};
  EXPECT_THAT(names(*plan(settings, {}, {}, {})), ElementsAre("oc-tethys"));
  settings.peers.clear();
  settings.listen = 51820;
  EXPECT_THAT(*plan(settings, {}, {}, {}), IsEmpty()) << "and none without peers";
}

TEST(Plan, EverythingIsAllowedOnlyOnADialledDeviceThatAnExitNames) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true), peer("meliae", 2, true)};
  settings.peers[0].networks = {prefix("10.42.0.0/24")};
  const auto devices = plan(settings, {exit_by("tethys")}, {}, {});
  ASSERT_TRUE(devices);
  EXPECT_THAT(devices->at(0).peers.at(0).allowed_ips,
              ElementsAre(prefix("10.42.0.0/24"), prefix("10.99.0.1/32")));
  EXPECT_THAT(devices->at(1).peers.at(0).allowed_ips,
              ElementsAre(prefix("0.0.0.0/0"), prefix("10.42.0.0/24"), prefix("10.99.0.1/32"),
                          prefix("::/0")));
  EXPECT_THAT(devices->at(2).peers.at(0).allowed_ips, ElementsAre(prefix("10.99.0.2/32")));
}

TEST(Plan, APeerBehindAnotherHasNoSessionAndItsRangesAreTheRelays) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true), peer("meliae", 2, true), peer("calypso", 4, false)};
  settings.peers[0].networks = {prefix("10.42.0.0/24")};
  settings.peers[2].networks = {prefix("10.42.3.0/24")};
  settings.peers[2].via = "tethys";
  const auto devices = plan(settings, {}, {}, {});
  ASSERT_TRUE(devices);
  EXPECT_THAT(names(*devices), ElementsAre("oc-hub", "oc-tethys", "oc-meliae"));
  for (const std::size_t device : {std::size_t{0}, std::size_t{1}})
    EXPECT_THAT(devices->at(device).peers.at(0).allowed_ips,
                ElementsAre(prefix("10.42.0.0/24"), prefix("10.42.3.0/24"), prefix("10.99.0.1/32"),
                            prefix("10.99.0.4/32")));
  EXPECT_THAT(devices->at(0).peers, SizeIs(2));
  EXPECT_THAT(devices->at(2).peers.at(0).allowed_ips, ElementsAre(prefix("10.99.0.2/32")));
}

TEST(Plan, OnePrefixBelongsToOnePeerOfTheHub) {
  TunnelSettings settings;
  settings.peers = {peer("one", 1, false), peer("two", 2, false)};
  settings.peers[0].networks = settings.peers[1].networks = {prefix("10.42.0.0/24")};
  const auto devices = plan(settings, {}, {}, {});
  EXPECT_THAT(devices->at(0).peers.at(0).allowed_ips, SizeIs(2));
  EXPECT_THAT(devices->at(0).peers.at(1).allowed_ips, ElementsAre(prefix("10.99.0.2/32")));
}

TEST(Plan, TheMtuFollowsTheEndpointsFamilyOrTheConfiguration) {
  TunnelSettings settings;
  settings.peers = {peer("four", 1, true), peer("six", 2, true), peer("new", 3, true)};
  const ResolvedEndpoints endpoints{{"four", endpoint("192.0.2.1:51820")},
                                    {"six", endpoint("[2001:db8::1]:51820")}};
  auto devices = plan(settings, {}, endpoints, {});
  EXPECT_EQ(devices->at(1).mtu, 1440U);
  EXPECT_EQ(devices->at(2).mtu, 1408U);
  EXPECT_EQ(devices->at(3).mtu, 1440U);
  EXPECT_EQ(devices->at(1).peers.at(0).endpoint, endpoint("192.0.2.1:51820"));
  EXPECT_FALSE(devices->at(3).peers.at(0).endpoint) << "not resolved yet";
  settings.mtu = 1280;
  devices = plan(settings, {}, endpoints, {});
  for (const DesiredDevice& device : *devices)
    EXPECT_EQ(device.mtu, 1280U);
}

TEST(Plan, InnerMtuAsInTheTableOfTheReference) {
  const struct {
    unsigned path, v4, v6;
  } rows[] = {{1280, 1216, 1200}, {1340, 1280, 1248}, {1400, 1328, 1312}, {1420, 1360, 1328},
              {1460, 1392, 1376}, {1492, 1424, 1408}, {1500, 1440, 1408}, {9001, 8928, 8912},
              {0, 576, 576},      {60, 576, 576}};
  for (const auto& row : rows) {
    EXPECT_EQ(inner_mtu(row.path, Family::v4), row.v4) << row.path;
    EXPECT_EQ(inner_mtu(row.path, Family::v6), row.v6) << row.path;
  }
}

TEST(Plan, CarriesMarkAndPresharedKey) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true)};
  PlanOptions options;
  options.fwmark = Mark{0x04000000, 0x0f000000};
  const auto devices = plan(settings, {}, {}, {{"tethys", preshared_key(9)}}, options);
  for (const DesiredDevice& device : *devices) {
    EXPECT_EQ(device.fwmark, options.fwmark);
    EXPECT_EQ(device.peers.at(0).preshared_key, preshared_key(9));
  }
}

TEST(Plan, RefusesAKeyThatIsNoneAndTheNameOfTheHub) {
  TunnelSettings settings;
  settings.peers = {peer("hub", 1, true)};
  EXPECT_FALSE(plan(settings, {}, {}, {}));
  settings.peers = {peer("tethys", 1, true)};
  settings.peers[0].public_key = "nonsense";
  EXPECT_FALSE(plan(settings, {}, {}, {}));
}

TEST(Plan, KeepsTheCurrentEndpointWhileItIsAmongTheAnswers) {
  const auto one = endpoint("192.0.2.1:51820");
  const auto two = endpoint("192.0.2.2:51820");
  EXPECT_EQ(choose_endpoint({one, two}, two), two);
  EXPECT_EQ(choose_endpoint({one}, two), one);
  EXPECT_EQ(choose_endpoint({}, two), two);
  EXPECT_EQ(choose_endpoint({one, two}, {}), one);
  EXPECT_EQ(choose_endpoint({}, {}), std::nullopt);
}

TEST(Plan, APeerWithTwoKeysHasOneInForceAndOneThatWaits) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true), peer("calypso", 4, false)};
  settings.peers.front().next_public_key = public_key(2).to_base64();
  PlanOptions options;
  EXPECT_THAT(plan(settings, {}, {}, {}, options)->front().waiting, IsEmpty())
      << "without a latch a session could come of it";
  options.latch = preshared_key(9);
  options.turned = {{name("oc-tethys"), "tethys"}};
  const auto devices = plan(settings, {}, {}, {{"tethys", preshared_key(5)}}, options);
  ASSERT_TRUE(devices);
  const DesiredDevice& hub = devices->at(0);
  EXPECT_EQ(hub.peers.at(0).public_key, public_key(1));
  ASSERT_THAT(hub.waiting, SizeIs(1));
  EXPECT_EQ(hub.waiting.front().public_key, public_key(2));
  EXPECT_THAT(hub.waiting.front().allowed_ips, IsEmpty());
  EXPECT_EQ(hub.waiting.front().preshared_key, preshared_key(9));
  const DesiredDevice& dialled = devices->at(1);
  EXPECT_EQ(dialled.peers.at(0).public_key, public_key(2)) << "turned on this device alone";
  EXPECT_EQ(dialled.peers.at(0).preshared_key, preshared_key(5));
  EXPECT_EQ(dialled.waiting.at(0).public_key, public_key(1));
}

TEST(Plan, ANextKeyThatIsNoneIsAnError) {
  TunnelSettings settings;
  settings.peers = {peer("tethys", 1, true)};
  settings.peers.front().next_public_key = "short";
  EXPECT_FALSE(plan(settings, {}, {}, {}));
}

}  // namespace
}  // namespace oceanid::tunnel
