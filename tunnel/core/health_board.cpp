#include "tunnel/core/health_board.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr Duration together = 2s;

// A fall that the line below can have caused.
bool by_the_line(const ExitHealth& exit) {
  return exit.state() == HealthState::down &&
         (exit.fall() == Fall::echo || exit.fall() == Fall::link);
}

}  // namespace

void HealthBoard::set_hold(Duration hold, bool damping) {
  hold_ = hold;
  damping_ = damping;
  for (ExitHealth& exit : exits_)
    exit.set_hold(hold, damping);
}

ExitHealth HealthBoard::fresh() const {
  ExitHealth exit(hold_);
  exit.set_hold(hold_, damping_);
  return exit;
}

void HealthBoard::reorder(const std::vector<std::optional<std::size_t>>& former) {
  std::vector<ExitHealth> exits;
  exits.reserve(former.size());
  for (const auto& then : former)
    exits.push_back(then && *then < exits_.size() ? exits_[*then] : fresh());
  exits_ = std::move(exits);
}

// At least two exits that carried, and two thirds of them.
bool HealthBoard::fell_together(TimePoint now) const {
  std::size_t fell = 0;
  std::size_t others = 0;
  for (const ExitHealth& exit : exits_) {
    if (by_the_line(exit) && exit.fell_at() && now - *exit.fell_at() <= together)
      ++fell;
    else if (usable(exit.state()))
      ++others;
  }
  return fell >= 2 && fell * 3 >= (fell + others) * 2;
}

void HealthBoard::update(const std::vector<ExitEvidence>& evidence, bool underlay, TimePoint now) {
  exits_.resize(evidence.size(), fresh());
  for (std::size_t i = 0; i < evidence.size(); ++i)
    exits_[i].update(evidence[i], now);
  const bool any =
      std::ranges::any_of(exits_, [](const ExitHealth& e) { return usable(e.state()); });
  const bool fault = fell_together(now) || (!underlay && !any);
  if (fault) {
    if (!any) underlay_down_ = true;
    for (ExitHealth& exit : exits_)
      if (by_the_line(exit) && exit.fell_at() && now - *exit.fell_at() <= together)
        exit.forgive(now);
  }
  if (any) underlay_down_ = false;
}

std::optional<TimePoint> HealthBoard::next_change() const {
  std::optional<TimePoint> next;
  for (const ExitHealth& exit : exits_)
    if (const auto at = exit.next_change()) next = next ? std::min(*next, *at) : *at;
  return next;
}

}  // namespace oceanid::tunnel
