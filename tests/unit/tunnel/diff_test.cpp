#include "tunnel/core/diff.hpp"

#include "make.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace testing;
using ::testing::SizeIs;

DesiredDevice device() {
  DesiredDevice desired;
  desired.name = name("oc-tethys");
  desired.fwmark = Mark{0x04000000, 0x0f000000};
  DesiredPeer& peer = desired.peers.emplace_back();
  peer.public_key = public_key(1);
  peer.endpoint = endpoint("192.0.2.1:51820");
  peer.allowed_ips = {prefix("0.0.0.0/0"), prefix("10.99.0.1/32")};
  peer.keepalive = std::chrono::seconds(25);
  return desired;
}

TEST(Diff, NothingToDoForWhatIsApplied) {
  const DesiredDevice desired = device();
  const DeviceReading actual = as_applied(desired, private_key(7));
  EXPECT_TRUE(diff(desired, private_key(7), actual, {}).empty());
  EXPECT_TRUE(diff(desired, private_key(7), actual, intent_of(desired)).empty());
}

TEST(Diff, AnEmptyDeviceGetsEverything) {
  const DesiredDevice desired = device();
  const DeviceChange change = diff(desired, private_key(7), {}, {});
  EXPECT_EQ(change.private_key, private_key(7));
  EXPECT_EQ(change.fwmark, 0x04000000U);
  EXPECT_FALSE(change.listen_port) << "ephemeral: the device chooses";
  ASSERT_THAT(change.peers, SizeIs(1));
  const PeerChange& peer = change.peers.front();
  EXPECT_EQ(peer.endpoint, endpoint("192.0.2.1:51820"));
  EXPECT_TRUE(peer.replace_allowed_ips);
  EXPECT_EQ(peer.allowed_ips, desired.peers.front().allowed_ips);
  EXPECT_EQ(peer.keepalive, std::chrono::seconds(25));
  EXPECT_FALSE(peer.preshared_key);
}

TEST(Diff, ARoamedEndpointIsNoDrift) {
  const DesiredDevice desired = device();
  DeviceReading actual = as_applied(desired, private_key(7));
  actual.snapshot.peers.front().endpoint = endpoint("198.51.100.9:1234");
  EXPECT_TRUE(diff(desired, private_key(7), actual, intent_of(desired)).empty());
}

// What a transport still had under way moves WireGuard back to its shim, which is deaf by then.
TEST(Diff, APeerThatFellBackToAShimIsDialledAgain) {
  DesiredDevice desired = device();
  DeviceReading actual = as_applied(desired, private_key(7));
  for (const char* shim : {"127.0.0.1:40000", "127.9.9.9:1", "[::1]:40000"}) {
    actual.snapshot.peers.front().endpoint = endpoint(shim);
    EXPECT_TRUE(fell_back_to_shim(desired, actual.snapshot)) << shim;
    const DeviceChange change = diff(desired, private_key(7), actual, intent_of(desired));
    ASSERT_THAT(change.peers, SizeIs(1)) << shim;
    EXPECT_EQ(change.peers.front().endpoint, endpoint("192.0.2.1:51820"));
  }
  // By another transport than the one that is meant it is where it belongs.
  desired.peers.front().endpoint = endpoint("127.0.0.1:30000");
  EXPECT_FALSE(fell_back_to_shim(desired, actual.snapshot));
  EXPECT_TRUE(diff(desired, private_key(7), actual, intent_of(desired)).empty());
  desired.peers.front().endpoint.reset();  // whoever dials us comes by a shim of ours, too
  EXPECT_FALSE(fell_back_to_shim(desired, actual.snapshot));
  desired = device();
  actual.snapshot.peers.front().endpoint = endpoint("198.51.100.9:1234");
  EXPECT_FALSE(fell_back_to_shim(desired, actual.snapshot)) << "it roams";
}

TEST(Diff, ANewAddressInTheConfigurationIsWritten) {
  DesiredDevice desired = device();
  const EndpointIntent before = intent_of(desired);
  const DeviceReading actual = as_applied(desired, private_key(7));
  desired.peers.front().endpoint = endpoint("192.0.2.77:51820");
  const DeviceChange change = diff(desired, private_key(7), actual, before);
  ASSERT_THAT(change.peers, SizeIs(1));
  PeerChange expected;
  expected.public_key = public_key(1);
  expected.endpoint = endpoint("192.0.2.77:51820");
  EXPECT_EQ(change.peers.front(), expected) << "and nothing else is touched";
}

TEST(Diff, AfterAdoptionTheConfigurationWinsOnce) {
  const DesiredDevice desired = device();
  DeviceReading actual = as_applied(desired, private_key(7));
  actual.snapshot.peers.front().endpoint = endpoint("198.51.100.9:1234");
  const DeviceChange change = diff(desired, private_key(7), actual, /*intent=*/{});
  ASSERT_THAT(change.peers, SizeIs(1));
  EXPECT_EQ(change.peers.front().endpoint, endpoint("192.0.2.1:51820"));
}

TEST(Diff, AnUnresolvedEndpointLeavesTheLiveOne) {
  DesiredDevice desired = device();
  const DeviceReading actual = as_applied(desired, private_key(7));
  desired.peers.front().endpoint.reset();
  EXPECT_TRUE(diff(desired, private_key(7), actual, {}).empty());
}

TEST(Diff, RemovesStrangersBeforeItAdds) {
  DesiredDevice desired = device();
  DeviceReading actual = as_applied(desired, private_key(7));
  desired.peers.front().public_key = public_key(2);
  const DeviceChange change = diff(desired, private_key(7), actual, intent_of(desired));
  ASSERT_THAT(change.peers, SizeIs(2));
  EXPECT_TRUE(change.peers[0].remove);
  EXPECT_EQ(change.peers[0].public_key, public_key(1));
  EXPECT_FALSE(change.peers[1].remove);
  EXPECT_EQ(change.peers[1].public_key, public_key(2));
}

TEST(Diff, EachDifferingFieldAlone) {
  const DesiredDevice original = device();
  const DeviceReading actual = as_applied(original, private_key(7));
  const EndpointIntent intent = intent_of(original);

  DeviceChange change = diff(original, private_key(8), actual, intent);
  EXPECT_EQ(change.private_key, private_key(8));
  EXPECT_TRUE(change.peers.empty());

  DesiredDevice desired = original;
  desired.listen_port = 51820;
  EXPECT_EQ(diff(desired, private_key(7), actual, intent).listen_port, 51820);

  desired = original;
  desired.fwmark = Mark{0, 0};
  EXPECT_EQ(diff(desired, private_key(7), actual, intent).fwmark, 0U);

  desired = original;
  desired.peers.front().keepalive = std::chrono::seconds(0);
  EXPECT_EQ(diff(desired, private_key(7), actual, intent).peers.at(0).keepalive,
            std::chrono::seconds(0));

  desired = original;
  desired.peers.front().preshared_key = preshared_key(3);
  EXPECT_EQ(diff(desired, private_key(7), actual, intent).peers.at(0).preshared_key,
            preshared_key(3));

  DeviceReading with_preshared = actual;
  with_preshared.preshared_keys.front() = preshared_key(3);
  EXPECT_EQ(diff(original, private_key(7), with_preshared, intent).peers.at(0).preshared_key,
            PresharedKey())
      << "taken away";

  desired = original;
  desired.peers.front().allowed_ips.push_back(prefix("10.42.0.0/24"));
  const PeerChange peer = diff(desired, private_key(7), actual, intent).peers.at(0);
  EXPECT_TRUE(peer.replace_allowed_ips);
  EXPECT_THAT(peer.allowed_ips, SizeIs(3));
  EXPECT_FALSE(peer.endpoint);
}

TEST(Diff, TheOrderOfAllowedAddressesIsNoDifference) {
  DesiredDevice desired = device();
  DeviceReading actual = as_applied(desired, private_key(7));
  std::ranges::reverse(actual.snapshot.peers.front().allowed_ips);
  EXPECT_TRUE(diff(desired, private_key(7), actual, {}).empty());
}

TEST(Diff, AForcedHandshakeRemovesAndAddsTheCompletePeerWhereItIsNow) {
  const DesiredPeer peer = device().peers.front();
  const auto live = endpoint("198.51.100.9:1234");
  const DeviceChange change = forced_handshake(peer, live);
  ASSERT_THAT(change.peers, SizeIs(2));
  EXPECT_TRUE(change.peers[0].remove);
  EXPECT_EQ(change.peers[1].endpoint, live);
  EXPECT_EQ(change.peers[1].allowed_ips, peer.allowed_ips);
  EXPECT_EQ(change.peers[1].keepalive, peer.keepalive);
  EXPECT_EQ(forced_handshake(peer, {}).peers[1].endpoint, peer.endpoint);
}

DesiredDevice with_two_keys(bool turned) {
  DesiredDevice desired = device();
  desired.peers.front().public_key = public_key(turned ? 2 : 1);
  DesiredPeer& waiting = desired.waiting.emplace_back();
  waiting.public_key = public_key(turned ? 1 : 2);
  waiting.preshared_key = preshared_key(9);
  return desired;
}

TEST(Diff, AKeyThatWaitsIsKnownWithoutAddresses) {
  const DesiredDevice desired = with_two_keys(false);
  const DeviceReading alone = as_applied(device(), private_key(7));
  const DeviceChange change = diff(desired, private_key(7), alone, intent_of(desired));
  ASSERT_THAT(change.peers, SizeIs(1));
  EXPECT_EQ(change.peers.front().public_key, public_key(2));
  EXPECT_TRUE(change.peers.front().allowed_ips.empty());
  EXPECT_EQ(change.peers.front().preshared_key, preshared_key(9));
  const DeviceReading actual = as_applied(desired, private_key(7));
  EXPECT_TRUE(diff(desired, private_key(7), actual, intent_of(desired)).empty());
}

// The new peer takes the addresses before the former one gives them up, and is made anew where it
// is now: it starts a handshake at once.
TEST(Diff, ATurnMovesTheAddressesInOneChange) {
  const DesiredDevice desired = with_two_keys(true);
  DeviceReading actual = as_applied(with_two_keys(false), private_key(7));
  actual.snapshot.peers.back().endpoint = endpoint("198.51.100.9:1234");
  const DeviceChange change = diff(desired, private_key(7), actual, intent_of(desired));
  ASSERT_THAT(change.peers, SizeIs(3));
  EXPECT_EQ(change.peers[0].public_key, public_key(2));
  EXPECT_TRUE(change.peers[0].remove);
  EXPECT_EQ(change.peers[1].public_key, public_key(2));
  EXPECT_EQ(change.peers[1].allowed_ips, desired.peers.front().allowed_ips);
  EXPECT_EQ(change.peers[1].endpoint, endpoint("198.51.100.9:1234"));
  EXPECT_FALSE(change.peers[1].preshared_key) << "made without the one that nobody has";
  EXPECT_EQ(change.peers[2].public_key, public_key(1));
  EXPECT_TRUE(change.peers[2].replace_allowed_ips);
  EXPECT_TRUE(change.peers[2].allowed_ips.empty());
  EXPECT_EQ(change.peers[2].preshared_key, preshared_key(9));
  EXPECT_EQ(change.peers[2].keepalive, std::chrono::seconds(0));
}

TEST(Diff, TheEndOfARotationOnlyRemovesTheFormerKey) {
  DesiredDevice desired = device();
  desired.peers.front().public_key = public_key(2);
  const DeviceReading actual = as_applied(with_two_keys(true), private_key(7));
  const DeviceChange change = diff(desired, private_key(7), actual, intent_of(desired));
  ASSERT_THAT(change.peers, SizeIs(1));
  EXPECT_EQ(change.peers.front().public_key, public_key(1));
  EXPECT_TRUE(change.peers.front().remove);
}

}  // namespace
}  // namespace oceanid::tunnel
