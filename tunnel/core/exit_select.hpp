#pragma once
// Which exit carries the traffic: by priority, then by state, then by round trip. Pure; the caller
// passes the time.
//   away   at once, when the exit is no longer usable, or passes small packets only; but from one
//          that fell silent to one whose echoes are missing, too, only when these have come, or
//          have not for `doubt`: what cuts off both is the line below them, and a change of the
//          exit costs every connection
//   back   to one of a better priority after it has been usable for `hold` without a break (its
//          state machine waits as well, longer when it flaps); to an equal one that is in a better
//          state, or faster by a fifth and 2 ms, when that has lasted for `settle`
// What flaps, or passes small packets only, is used when nothing else is there: never none while
// one is usable.

#include "gateway/base/exit.hpp"
#include "tunnel/core/health_exit.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace oceanid::tunnel {

struct ExitCandidate {
  HealthState state = HealthState::init;
  bool impaired = false;
  bool silent = false;         // down for want of echoes, and for nothing else
  std::uint32_t priority = 0;  // less is better
  std::optional<Duration> rtt;
  bool operator==(const ExitCandidate&) const = default;
};

// Of exits as configured: one that names none comes behind the one before it.
std::vector<std::uint32_t> priorities_of(std::span<const ExitSettings> exits);

class ExitSelector {
 public:
  explicit ExitSelector(Duration hold) : hold_(hold) {}

  static constexpr std::chrono::milliseconds grace{1500};
  static constexpr std::chrono::seconds settle{30};
  static constexpr std::chrono::milliseconds return_grace{500};
  static constexpr std::chrono::milliseconds doubt{1000};
  static constexpr std::chrono::milliseconds look{50};  // how often, in doubt: as extra echoes go
  // Below this a difference between round trips is the processors', not the paths'.
  static constexpr std::chrono::milliseconds clearly{2};

  // A former life's choice, found in the kernel: counts as usable until `grace` is over. Before
  // select().
  void resume(std::size_t index, TimePoint now);
  // The list of exits has changed: former[i] is the place that exit i had before, if any.
  void reorder(const std::vector<std::optional<std::size_t>>& former);
  void set_hold(Duration hold) { hold_ = hold; }
  // `pin`: only this one is eligible. `underlay_down`: all fell at once; the preferred one is given
  // a moment to come back first.
  std::optional<std::size_t> select(const std::vector<ExitCandidate>& exits,
                                    std::optional<std::size_t> pin, TimePoint now,
                                    bool underlay_down = false);
  // Whether select() may decide otherwise, at once or later, than it did when it was told `before`.
  bool matters(const std::vector<ExitCandidate>& before,
               const std::vector<ExitCandidate>& now) const;
  std::optional<std::size_t> current() const { return current_; }
  // When a decision that waits (for a hold, for the grace) falls due; none: nothing waits.
  std::optional<TimePoint> next_decision() const { return due_; }

 private:
  struct Waiting {
    std::optional<TimePoint> usable_since;
    std::optional<TimePoint> better_since;  // than the current one, at equal priority
  };
  using Exits = std::vector<ExitCandidate>;
  bool challenges(const Exits& exits, std::size_t i) const;
  void note(const Exits& exits, TimePoint now);
  bool in_doubt(const Exits& exits, std::optional<std::size_t> pin, TimePoint now);
  bool still_starting(const Exits& exits, std::optional<std::size_t> pin, TimePoint now);
  std::optional<TimePoint> switch_at(const Exits& exits, std::size_t to, TimePoint now);
  void wait_until(TimePoint at);

  Duration hold_;
  std::optional<std::size_t> current_;
  std::vector<Waiting> waiting_;
  std::optional<TimePoint> due_;
  std::optional<TimePoint> grace_until_;
  std::optional<std::size_t> resumed_;
  std::optional<TimePoint> doubt_until_;
  bool all_fell_ = false;                  // with the line below them
  std::optional<TimePoint> return_until_;  // how long the preferred one is waited for then
};

}  // namespace oceanid::tunnel
