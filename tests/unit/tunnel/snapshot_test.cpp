#include "tunnel/core/snapshot.hpp"

#include "tests/unit/tunnel/make.hpp"

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Wall = std::chrono::system_clock::time_point;

DeviceSnapshot with(const PublicKey& key, std::optional<Wall> handshake) {
  DeviceSnapshot device;
  PeerSnapshot peer;
  peer.public_key = key;
  peer.last_handshake = handshake;
  device.peers.push_back(peer);
  return device;
}

TEST(Snapshot, AForcedHandshakeDoesNotMakeThePeerAStranger) {
  const DeviceSnapshot before = with(testing::public_key(1), Wall(100s));
  DeviceSnapshot added_anew = with(testing::public_key(1), std::nullopt);
  added_anew.keep_handshakes(before);
  EXPECT_EQ(added_anew.peers[0].last_handshake, Wall(100s));
  DeviceSnapshot succeeded = with(testing::public_key(1), Wall(130s));
  succeeded.keep_handshakes(before);
  EXPECT_EQ(succeeded.peers[0].last_handshake, Wall(130s));
  DeviceSnapshot another = with(testing::public_key(2), std::nullopt);
  another.keep_handshakes(before);
  EXPECT_EQ(another.peers[0].last_handshake, std::nullopt) << "another key is another peer";
}

}  // namespace
}  // namespace oceanid::tunnel
