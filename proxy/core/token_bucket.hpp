#pragma once
// So many per second, up to a second's worth at once. Pure; the caller brings the time and the
// lock.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace oceanid::proxy {

class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `burst` 0: what `per_second` gives in one second.
  TokenBucket(double per_second, Time now, double burst = 0)
      : per_second_(per_second),
        burst_(burst > 0 ? burst : std::max(per_second, 1.0)),
        tokens_(burst_),
        at_(now) {}

  // Takes as much of `wanted` as there is; at least `least` or nothing.
  double take(double wanted, double least, Time now) {
    refill(now);
    if (tokens_ < least) return 0;
    const double out = std::min(wanted, tokens_);
    tokens_ -= out;
    return out;
  }
  bool take_one(Time now) { return take(1, 1, now) > 0; }
  void give_back(double tokens) { tokens_ = std::min(burst_, tokens_ + tokens); }
  bool full(Time now) {
    refill(now);
    return tokens_ >= burst_;
  }
  // Until `wanted` (at most a full bucket) will be there.
  std::chrono::nanoseconds wait_for(double wanted, Time now) {
    refill(now);
    const double missing = std::min(wanted, burst_) - tokens_;
    if (missing <= 0 || per_second_ <= 0) return std::chrono::nanoseconds(0);
    return std::chrono::nanoseconds(
        static_cast<std::chrono::nanoseconds::rep>(missing / per_second_ * 1e9) + 1);
  }
  // Another rate from now on; what is saved up stays, up to the new burst.
  void set_rate(double per_second, Time now) {
    if (per_second == per_second_) return;
    refill(now);
    per_second_ = per_second;
    burst_ = std::max(per_second, 1.0);
    tokens_ = std::min(tokens_, burst_);
  }

 private:
  void refill(Time now) {
    if (now <= at_) return;
    tokens_ =
        std::min(burst_, tokens_ + per_second_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
  }

  double per_second_;
  double burst_;
  double tokens_;
  Time at_;
};

}  // namespace oceanid::proxy
