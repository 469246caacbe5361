#pragma once
// WireGuard's cross-platform text protocol (wireguard.com/xplatform), as wireguard-go and boringtun
// speak it on a Unix socket: lines `key=value`, a blank line ends a request or an answer, keys in
// lower-case hex. Pure and bounded: an answer beyond the limits below is an error, never an
// allocation without end. Answers end with `errno=N`; wireguard-go prints negative numbers (-22),
// boringtun positive ones.

#include "gateway/base/error.hpp"
#include "tunnel/core/diff.hpp"
#include "tunnel/core/snapshot.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::tunnel::uapi {

inline constexpr std::string_view get_request = "get=1\n\n";
inline constexpr std::size_t max_answer = std::size_t{4} << 20;
inline constexpr std::size_t max_peers = 65536;  // wireguard-go's own limit
inline constexpr std::size_t max_allowed_ips = 65536;

// The text holds secrets: wipe() it after use.
std::string encode_set(const DeviceChange& change);

// `text` is a complete answer with its blank line. An errno other than 0 is the error.
Result<DeviceReading> decode_get(const IfName& name, std::string_view text);
Result<void> decode_set_answer(std::string_view text);

// A complete answer stands at the front of `received`: its length with the blank line.
std::optional<std::size_t> answer_length(std::string_view received);

// The inverse of decode_get, for the stateful fake and the round-trip tests.
std::string encode_get_answer(const DeviceReading& reading);

}  // namespace oceanid::tunnel::uapi
