#pragma once
// All exits of a node together: each has its state machine, and when most of them fall within two
// seconds it is the line below them that is gone, not all these exits at once. Then nobody is
// punished for it (Envoy's outlier detection limits ejection for the same reason), and the report
// says "underlay". Pure.

#include "tunnel/core/health_exit.hpp"

#include <cstddef>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

class HealthBoard {
 public:
  explicit HealthBoard(Duration hold) : hold_(hold) {}

  void set_hold(Duration hold, bool damping = true);
  // The list of exits has changed: former[i] is the place that exit i had before, if any.
  void reorder(const std::vector<std::optional<std::size_t>>& former);
  // One entry for each exit. `underlay`: this node's own line has a route and a link.
  void update(const std::vector<ExitEvidence>& evidence, bool underlay, TimePoint now);

  const std::vector<ExitHealth>& exits() const { return exits_; }
  bool underlay_down() const { return underlay_down_; }
  std::optional<TimePoint> next_change() const;
  // Whether `exit` waits until flaps have faded.
  bool suppressed(std::size_t exit, TimePoint now) { return exits_[exit].suppressed(now); }

 private:
  bool fell_together(TimePoint now) const;

  ExitHealth fresh() const;

  Duration hold_;
  bool damping_ = true;
  std::vector<ExitHealth> exits_;
  bool underlay_down_ = false;
};

}  // namespace oceanid::tunnel
