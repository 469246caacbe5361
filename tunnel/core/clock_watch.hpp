#pragma once
// Has the wall clock been set back? WireGuard's handshakes carry a time, and peers refuse one that
// is not later than the last they saw: after a step back no new session stands until the clock is
// past where it was. Compared with a clock that nobody sets. Pure.

#include <algorithm>
#include <chrono>
#include <optional>

namespace oceanid::tunnel {

class ClockWatch {
 public:
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
    stepped_ = std::max(stepped_, std::chrono::floor<std::chrono::seconds>(*offset_ - offset));
    if (stepped_ < std::chrono::seconds(2)) return std::nullopt;
    return stepped_;
  }

 private:
  std::optional<std::chrono::system_clock::time_point> highest_;  // until which handshakes are old
  std::optional<std::chrono::nanoseconds> offset_;
  std::chrono::seconds stepped_{0};
};

}  // namespace oceanid::tunnel
