#include "tunnel/core/exit_select.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::tunnel {

void ExitSelector::resume(std::size_t index, TimePoint now) {
  resumed_ = index;
  current_ = index;
  grace_until_ = now + grace;
}

void ExitSelector::reorder(const std::vector<std::optional<std::size_t>>& former) {
  const auto now_at = [&](std::optional<std::size_t> then) -> std::optional<std::size_t> {
    if (!then) return std::nullopt;
    const auto found = std::ranges::find(former, then);
    if (found == former.end()) return std::nullopt;
    return static_cast<std::size_t>(found - former.begin());
  };
  current_ = now_at(current_);
  resumed_ = now_at(resumed_);
  std::vector<std::optional<TimePoint>> since;
  since.reserve(former.size());
  for (const auto& then : former)
    since.push_back(then && *then < usable_since_.size() ? usable_since_[*then] : std::nullopt);
  usable_since_ = std::move(since);
}

std::optional<std::size_t> ExitSelector::select(const std::vector<bool>& usable,
                                                std::optional<std::size_t> pin, TimePoint now) {
  usable_since_.resize(usable.size());
  for (std::size_t i = 0; i < usable.size(); ++i) {
    if (!usable[i])
      usable_since_[i].reset();
    else if (!usable_since_[i])
      usable_since_[i] = now;
  }
  due_.reset();
  if (!grace_until_) grace_until_ = now + grace;
  const bool starting = now < *grace_until_;
  // Once the traffic went elsewhere, the former choice is an exit like any other.
  if (!starting || current_ != resumed_) resumed_.reset();
  const auto eligible = [&](std::size_t i) {
    return (usable[i] || resumed_ == i) && (!pin || *pin == i);
  };
  if (current_ && (*current_ >= usable.size() || !eligible(*current_))) current_.reset();
  for (std::size_t i = 0; i < usable.size(); ++i) {
    if (!eligible(i)) continue;
    if (!current_ && starting && i != pin.value_or(0)) {
      due_ = *grace_until_;
      break;
    }
    if (!current_) {
      current_ = i;
      break;
    }
    if (i >= *current_) break;
    const TimePoint back_at = *usable_since_[i] + hold_;
    if (back_at <= now) {
      current_ = i;
      break;
    }
    due_ = due_ ? std::min(*due_, back_at) : back_at;
  }
  if (starting && resumed_ && current_ == resumed_)
    due_ = due_ ? std::min(*due_, *grace_until_) : *grace_until_;
  return current_;
}

std::optional<TimePoint> ExitSelector::next_decision() const {
  return due_;
}

}  // namespace oceanid::tunnel
