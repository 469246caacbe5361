#pragma once
// What `wireguard-go --version` says. Releases are numbered by their day: "wireguard-go
// v0.0.20220316". Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

struct WireguardGoVersion {
  std::string text;  // "0.0.20220316", or what a build of somebody's own calls itself
  std::optional<std::uint32_t> day;  // 20220316; none: not a release
  bool operator==(const WireguardGoVersion&) const = default;
};

// None when these are not the words of wireguard-go. Reads the first line only.
std::optional<WireguardGoVersion> parse_wireguard_go_version(std::string_view output);

// Before 0.0.20230223 it moves one packet with each system call; since then it uses the
// segmentation offloads of TUN and UDP, and is four times as fast on the same machine.
bool lacks_offloads(const WireguardGoVersion& version);

}  // namespace oceanid::tunnel
