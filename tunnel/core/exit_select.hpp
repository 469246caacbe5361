#pragma once
// Which exit carries the traffic: the first usable one in configuration order. Away from an exit
// that fails at once; back to a preferred one only after it has been usable for `hold` without a
// break, so that a flapping exit does not drag the traffic along. Pure; the caller passes the time.

#include <chrono>
#include <cstddef>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

using TimePoint = std::chrono::steady_clock::time_point;

class ExitSelector {
 public:
  explicit ExitSelector(std::chrono::milliseconds hold) : hold_(hold) {}

  void set_hold(std::chrono::milliseconds hold) { hold_ = hold; }
  // usable[i]: exit i is proven now. `pin`: only this one is eligible.
  std::optional<std::size_t> select(const std::vector<bool>& usable, std::optional<std::size_t> pin,
                                    TimePoint now);
  std::optional<std::size_t> current() const { return current_; }
  // When a waiting return to a preferred exit falls due; none: nothing waits.
  std::optional<TimePoint> next_decision() const;

 private:
  std::chrono::milliseconds hold_;
  std::optional<std::size_t> current_;
  std::vector<std::optional<TimePoint>> usable_since_;
  std::optional<TimePoint> due_;
};

}  // namespace oceanid::tunnel
