#include "tunnel/core/wireguard_go_version.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

TEST(WireguardGoVersion, ReleasesAreKnownByTheirDay) {
  const auto debian12 = parse_wireguard_go_version(
      "wireguard-go v0.0.20220316\n\nUserspace WireGuard daemon for linux-amd64.\n");
  ASSERT_TRUE(debian12);
  EXPECT_EQ(debian12->text, "0.0.20220316");
  EXPECT_EQ(debian12->day, 20220316U);
  EXPECT_TRUE(lacks_offloads(*debian12));
  EXPECT_TRUE(lacks_offloads(*parse_wireguard_go_version("wireguard-go v0.0.20230222")));
  EXPECT_FALSE(lacks_offloads(*parse_wireguard_go_version("wireguard-go v0.0.20230223")));
  EXPECT_FALSE(lacks_offloads(*parse_wireguard_go_version("wireguard-go 0.0.20260522")));
}

TEST(WireguardGoVersion, OfAnotherBuildNothingIsClaimed) {
  for (const char* text :
       {"f333402", "0.0.2022031", "0.0.202203160", "0.0.20220316-3-gabc", "0.1.20220316"}) {
    const auto built = parse_wireguard_go_version(std::string("wireguard-go v") + text);
    ASSERT_TRUE(built) << text;
    EXPECT_EQ(built->text, text);
    EXPECT_FALSE(built->day) << text;
    EXPECT_FALSE(lacks_offloads(*built)) << text;
  }
}

TEST(WireguardGoVersion, OtherWordsAreNone) {
  for (const std::string& text :
       {std::string(), std::string("wireguard-go "), std::string("wireguard-go v"),
        std::string("boringtun 0.5.2"), std::string("wireguard-go v0.0 (x)"),
        std::string("wireguard-go v\x1b[31m"), "wireguard-go v" + std::string(65, '1')})
    EXPECT_FALSE(parse_wireguard_go_version(text)) << text;
}

}  // namespace
}  // namespace oceanid::tunnel
