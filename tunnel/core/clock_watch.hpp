#pragma once
// Has the wall clock been set back? WireGuard's handshakes carry a time, and peers refuse one that
// is not later than the last they saw (whitepaper 5.1): after a step back no new session stands
// until the clock is past where it was. Compared with a clock that nobody sets, and over restarts
// with the last handshake. Pure.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

class ClockWatch {
 public:
  // The last handshake of an earlier process, before the first observe().
  void remember(std::chrono::system_clock::time_point handshake) { highest_ = handshake; }

  // How far behind its former self the wall clock is now; none: it is not, or by less than 2 s.
  std::optional<std::chrono::seconds> observe(std::chrono::system_clock::time_point wall,
                                              std::chrono::steady_clock::time_point steady) {
    const auto offset = wall.time_since_epoch() - steady.time_since_epoch();
    if (!highest_ || wall >= *highest_) {
      highest_ = wall;
      offset_ = offset;
      stepped_ = std::chrono::seconds(0);
      return std::nullopt;
    }
    if (!offset_) offset_ = highest_->time_since_epoch() - steady.time_since_epoch();
    stepped_ = std::max(stepped_, std::chrono::floor<std::chrono::seconds>(*offset_ - offset));
    if (stepped_ < std::chrono::seconds(2)) return std::nullopt;
    return stepped_;
  }

 private:
  std::optional<std::chrono::system_clock::time_point> highest_;  // until which handshakes are old
  std::optional<std::chrono::nanoseconds> offset_;
  std::chrono::seconds stepped_{0};
};

// A moment as it is kept on disk: whole seconds since 1970, rounded up.
inline std::string encode_moment(std::chrono::system_clock::time_point moment) {
  const auto whole = std::chrono::ceil<std::chrono::seconds>(moment.time_since_epoch());
  return std::to_string(whole.count()) + "\n";
}

inline std::optional<std::chrono::system_clock::time_point> decode_moment(std::string_view text) {
  constexpr std::int64_t most = 0xffff'ffff;  // 2106; nanoseconds in 64 bits end later
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0 || seconds > most)
    return std::nullopt;
  return std::chrono::system_clock::time_point(std::chrono::seconds(seconds));
}

}  // namespace oceanid::tunnel
