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

  static constexpr std::chrono::milliseconds grace{1500};

  // A former life's choice, found in the kernel: counts as usable until `grace` is over. Before
  // select().
  void resume(std::size_t index, TimePoint now);
  // The list of exits has changed: former[i] is the place that exit i had before, if any.
  void reorder(const std::vector<std::optional<std::size_t>>& former);
  void set_hold(std::chrono::milliseconds hold) { hold_ = hold; }
  // usable[i]: exit i is proven now. `pin`: only this one is eligible.
  std::optional<std::size_t> select(const std::vector<bool>& usable, std::optional<std::size_t> pin,
                                    TimePoint now);
  std::optional<std::size_t> current() const { return current_; }
  // When a decision that waits (for a hold, for the grace) falls due; none: nothing waits.
  std::optional<TimePoint> next_decision() const;

 private:
  std::chrono::milliseconds hold_;
  std::optional<std::size_t> current_;
  std::vector<std::optional<TimePoint>> usable_since_;
  std::optional<TimePoint> due_;
  std::optional<TimePoint> grace_until_;
  std::optional<std::size_t> resumed_;
};

}  // namespace oceanid::tunnel
