#pragma once
// How much an exit has flapped lately, as BGP's route flap damping counts it (RFC 2439): each fall
// costs 1000, which halves every minute; at 2500 the exit is suppressed, until it is back below
// 1000 or four minutes have passed since it fell last. Suppressed is a rank, not a verdict: the
// last usable exit is used all the same (exit_select.hpp). Pure.

#include "tunnel/core/health_window.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace oceanid::tunnel {

class FlapDamping {
 public:
  void fell(TimePoint now) {
    penalty_ = penalty(now) + each;
    as_of_ = now;
    fell_at_ = now;
    if (penalty_ >= suppress) suppressed_ = true;
  }
  // The last fall was not the exit's fault (the underlay's): as if it had not been.
  void forgive(TimePoint now) {
    penalty_ = std::max(0.0, penalty(now) - each);
    as_of_ = now;
    if (penalty_ < suppress) suppressed_ = false;
  }
  bool suppressed(TimePoint now) {
    if (suppressed_ && (penalty(now) < reuse || now - fell_at_ >= longest)) suppressed_ = false;
    return suppressed_;
  }
  double penalty(TimePoint now) const {
    return penalty_ * std::exp2(-std::chrono::duration<double>(now - as_of_) / half_life);
  }
  // When suppression ends at the latest, if nothing more happens.
  std::optional<TimePoint> reuse_at() const {
    if (!suppressed_) return std::nullopt;
    const auto decayed =
        as_of_ + std::chrono::duration_cast<Duration>(half_life * std::log2(penalty_ / reuse)) +
        std::chrono::milliseconds(1);
    return std::min<TimePoint>(decayed, fell_at_ + longest);
  }

 private:
  static constexpr double each = 1000;
  static constexpr double suppress = 2500;
  static constexpr double reuse = 1000;
  static constexpr std::chrono::duration<double> half_life{60};
  static constexpr std::chrono::minutes longest{4};
  double penalty_ = 0;
  TimePoint as_of_{};
  TimePoint fell_at_{};
  bool suppressed_ = false;
};

}  // namespace oceanid::tunnel
