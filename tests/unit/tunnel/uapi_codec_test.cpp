#include "tunnel/core/uapi_codec.hpp"

#include "make.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace testing;
using ::testing::SizeIs;

const std::string key_01(64, '1');  // 0x11 thirty-two times
const std::string key_02(64, '2');

// What wireguard-go 0.0.20220316 answers.
std::string answer() {
  return "private_key=" + std::string(64, '7') +
         "\nlisten_port=51820\nfwmark=67108864\n"
         "public_key=" +
         key_01 + "\npreshared_key=" + std::string(64, '0') +
         "\nprotocol_version=1\nendpoint=192.0.2.1:51820\nlast_handshake_time_sec=1700000000\n"
         "last_handshake_time_nsec=500000000\ntx_bytes=148\nrx_bytes=18446744073709551615\n"
         "persistent_keepalive_interval=25\nallowed_ip=10.99.0.1/32\nallowed_ip=0.0.0.0/0\n"
         "allowed_ip=::/0\n"
         "public_key=" +
         key_02 +
         "\nendpoint=[2001:db8::2]:443\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n"
         "errno=0\n\n";
}

TEST(UapiCodec, ReadsADevice) {
  const auto reading = uapi::decode_get(name("oc-hub"), answer());
  ASSERT_TRUE(reading) << reading.error().what;
  EXPECT_TRUE(*reading->private_key == private_key(0x77));
  const DeviceSnapshot& device = reading->snapshot;
  EXPECT_EQ(device.listen_port, 51820);
  EXPECT_EQ(device.fwmark, 0x04000000U);
  ASSERT_THAT(device.peers, SizeIs(2));
  ASSERT_THAT(reading->preshared_keys, SizeIs(2));
  const PeerSnapshot& first = device.peers[0];
  EXPECT_EQ(first.public_key, public_key(0x11));
  EXPECT_EQ(first.endpoint, endpoint("192.0.2.1:51820"));
  EXPECT_EQ(first.rx_bytes, 18446744073709551615U);
  EXPECT_EQ(first.tx_bytes, 148U);
  EXPECT_EQ(first.keepalive.count(), 25);
  EXPECT_THAT(first.allowed_ips,
              ::testing::ElementsAre(prefix("0.0.0.0/0"), prefix("10.99.0.1/32"), prefix("::/0")));
  ASSERT_TRUE(first.last_handshake);
  EXPECT_EQ(first.last_handshake->time_since_epoch(), std::chrono::milliseconds(1700000000500));
  EXPECT_EQ(device.peers[1].endpoint, endpoint("[2001:db8::2]:443"));
  EXPECT_FALSE(device.peers[1].last_handshake);
  EXPECT_NE(device.find(public_key(0x22)), nullptr);
  EXPECT_EQ(device.find(public_key(0x33)), nullptr);
}

TEST(UapiCodec, WhatItReadsItWritesTheSame) {
  const auto reading = uapi::decode_get(name("oc-hub"), answer());
  ASSERT_TRUE(reading);
  const auto again = uapi::decode_get(name("oc-hub"), uapi::encode_get_answer(*reading));
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(*reading, *again);
}

TEST(UapiCodec, AFreshDeviceHasNoKey) {
  const auto reading = uapi::decode_get(name("oc-x"), "errno=0\n\n");
  ASSERT_TRUE(reading);
  EXPECT_FALSE(reading->private_key);
}

TEST(UapiCodec, BothSignsOfErrnoAreErrors) {
  for (const std::string_view text : {"errno=-22\n\n", "errno=22\n\n"}) {
    const auto refused = uapi::decode_set_answer(text);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().os_error, EINVAL) << text;
    EXPECT_FALSE(uapi::decode_get(name("oc-x"), text));
  }
  EXPECT_TRUE(uapi::decode_set_answer("errno=0\n\n"));
}

TEST(UapiCodec, RefusesWhatIsNoAnswer) {
  const std::string peer = "public_key=" + key_01 + "\n";
  for (const std::string& text : {std::string(),
                                  std::string("\n"),
                                  std::string("errno=0"),
                                  std::string("errno=0\n"),
                                  std::string("errno=0\nmore=1\n\n"),
                                  std::string("errno=\n\n"),
                                  std::string("errno=--1\n\n"),
                                  std::string("errno=99999\n\n"),
                                  std::string("nonsense\nerrno=0\n\n"),
                                  std::string("listen_port=65536\nerrno=0\n\n"),
                                  std::string("listen_port=-1\nerrno=0\n\n"),
                                  std::string("fwmark=0x1\nerrno=0\n\n"),
                                  std::string("private_key=77\nerrno=0\n\n"),
                                  std::string("public_key=xyz\nerrno=0\n\n"),
                                  peer + "allowed_ip=10.0.0.1/8\nerrno=0\n\n",
                                  peer + "rx_bytes=18446744073709551616\nerrno=0\n\n",
                                  peer + "last_handshake_time_nsec=1000000000\nerrno=0\n\n",
                                  peer + "last_handshake_time_sec=9223372036854775807\nerrno=0\n\n",
                                  peer + "persistent_keepalive_interval=65536\nerrno=0\n\n",
                                  peer + "preshared_key=1\nerrno=0\n\n",
                                  peer}) {
    const auto reading = uapi::decode_get(name("oc-x"), text);
    ASSERT_FALSE(reading) << text;
    EXPECT_EQ(reading.error().code, Errc::protocol) << text;
  }
}

TEST(UapiCodec, KeysOfLaterVersionsAreNoTrouble) {
  EXPECT_TRUE(uapi::decode_get(name("oc-x"), "colour=blue\npublic_key=" + key_01 +
                                                 "\nmood=fine\nprotocol_version=2\nerrno=0\n\n"));
}

TEST(UapiCodec, AnEndpointWithAZoneIsOnlyNotShown) {
  const auto reading = uapi::decode_get(
      name("oc-x"), "public_key=" + key_01 + "\nendpoint=[fe80::1%eth0]:51820\nerrno=0\n\n");
  ASSERT_TRUE(reading);
  EXPECT_FALSE(reading->snapshot.peers.front().endpoint);
}

TEST(UapiCodec, WritesAChange) {
  DeviceChange change;
  change.private_key = private_key(0x77);
  change.listen_port = 51820;
  change.fwmark = 0x04000000;
  PeerChange removal;
  removal.public_key = public_key(0x11);
  removal.remove = true;
  removal.endpoint = endpoint("192.0.2.1:1");  // not written: the peer goes
  PeerChange peer;
  peer.public_key = public_key(0x22);
  peer.preshared_key = preshared_key(0x33);
  peer.endpoint = endpoint("[2001:db8::2]:443");
  peer.replace_allowed_ips = true;
  peer.allowed_ips = {prefix("0.0.0.0/0"), prefix("::/0")};
  peer.keepalive = std::chrono::seconds(0);
  change.peers = {removal, peer};
  EXPECT_EQ(uapi::encode_set(change),
            "set=1\nprivate_key=" + std::string(64, '7') +
                "\nfwmark=67108864\nlisten_port=51820\npublic_key=" + key_01 +
                "\nremove=true\npublic_key=" + key_02 + "\npreshared_key=" + std::string(64, '3') +
                "\nendpoint=[2001:db8::2]:443\nreplace_allowed_ips=true\nallowed_ip=0.0.0.0/0\n"
                "allowed_ip=::/0\npersistent_keepalive_interval=0\n\n");
  EXPECT_EQ(uapi::encode_set({}), "set=1\n\n");
}

TEST(UapiCodec, FindsTheEndOfAnAnswer) {
  EXPECT_EQ(uapi::answer_length(""), std::nullopt);
  EXPECT_EQ(uapi::answer_length("errno=0\n"), std::nullopt);
  EXPECT_EQ(uapi::answer_length("errno=0\n\n"), 9U);
  EXPECT_EQ(uapi::answer_length("errno=0\n\nrest"), 9U);
  EXPECT_EQ(uapi::answer_length("\n"), 1U);
}

}  // namespace
}  // namespace oceanid::tunnel
