#include "tunnel/core/exit_select.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

namespace oceanid::tunnel {
namespace {

enum class Class : std::uint8_t { good, suspect, impaired, held, unusable };

Class class_of(const ExitCandidate& exit, bool current) {
  if (!usable(exit.state)) return Class::unusable;
  if (exit.state == HealthState::hold) return Class::held;
  if (exit.impaired) return Class::impaired;
  // Echoes of the current one are missing: that is for the extra echoes to settle, not for us.
  return exit.state == HealthState::suspect && !current ? Class::suspect : Class::good;
}

// For a choice out of nothing; the order of configuration decides what is left.
auto rank(const ExitCandidate& exit) {
  return std::tuple(class_of(exit, false), exit.priority, exit.state == HealthState::degraded,
                    exit.rtt.value_or(Duration::max()));
}

bool a_fifth_faster(const ExitCandidate& a, const ExitCandidate& b) {
  return a.rtt && b.rtt && *a.rtt * 5 <= *b.rtt * 4 && *b.rtt - *a.rtt >= ExitSelector::clearly;
}

// Of equal priority and class.
bool clearly_better(const ExitCandidate& a, const ExitCandidate& b) {
  const bool a_lower = a.state != HealthState::up;
  const bool b_lower = b.state != HealthState::up;
  return a_lower != b_lower ? b_lower : a_fifth_faster(a, b);
}

}  // namespace

std::vector<std::uint32_t> priorities_of(std::span<const ExitSettings> exits) {
  std::vector<std::uint32_t> out;
  for (const ExitSettings& exit : exits)
    out.push_back(exit.priority.value_or(out.empty() ? 1 : out.back() + 1));
  return out;
}

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
  std::vector<Waiting> waiting;
  waiting.reserve(former.size());
  for (const auto& then : former)
    waiting.push_back(then && *then < waiting_.size() ? waiting_[*then] : Waiting());
  waiting_ = std::move(waiting);
}

// Equal to the current one, and better.
bool ExitSelector::challenges(const Exits& exits, std::size_t i) const {
  return current_ && *current_ < exits.size() && *current_ != i &&
         exits[i].priority == exits[*current_].priority &&
         class_of(exits[i], false) == class_of(exits[*current_], true) &&
         clearly_better(exits[i], exits[*current_]);
}

bool ExitSelector::matters(const Exits& before, const Exits& now) const {
  if (before.size() != now.size()) return true;
  for (std::size_t i = 0; i < now.size(); ++i) {
    // A suspicion moves nothing.
    const auto state = [](const ExitCandidate& exit) {
      return exit.state == HealthState::suspect ? HealthState::up : exit.state;
    };
    if (state(before[i]) != state(now[i]) || before[i].impaired != now[i].impaired ||
        challenges(before, i) != challenges(now, i))
      return true;
  }
  return false;
}

void ExitSelector::note(const Exits& exits, TimePoint now) {
  waiting_.resize(exits.size());
  for (std::size_t i = 0; i < exits.size(); ++i) {
    Waiting& waiting = waiting_[i];
    if (!usable(exits[i].state))
      waiting.usable_since.reset();
    else if (!waiting.usable_since)
      waiting.usable_since = now;
    if (!challenges(exits, i))
      waiting.better_since.reset();
    else if (!waiting.better_since)
      waiting.better_since = now;
  }
}

void ExitSelector::wait_until(TimePoint at) {
  due_ = due_ ? std::min(*due_, at) : at;
}

// Whether the traffic stays for another moment where nothing answers, since nowhere else does.
bool ExitSelector::in_doubt(const Exits& exits, std::optional<std::size_t> pin, TimePoint now) {
  const bool silent = *current_ < exits.size() && exits[*current_].silent;
  const bool suspects = std::ranges::any_of(
      exits, [](const auto& exit) { return class_of(exit, false) == Class::suspect; });
  const bool good = std::ranges::any_of(
      exits, [](const auto& exit) { return class_of(exit, false) == Class::good; });
  if (pin || !silent || good || !suspects) return false;
  if (!doubt_until_) doubt_until_ = now + doubt;
  if (now >= *doubt_until_) return false;
  wait_until(std::min<TimePoint>(*doubt_until_, now + look));
  return true;
}

// While we start, and while the line comes back, the exit of choice is waited for.
bool ExitSelector::still_starting(const Exits& exits, std::optional<std::size_t> pin,
                                  TimePoint now) {
  const auto preferred = [&]() -> std::optional<std::size_t> {
    if (pin) return pin;
    const auto best = std::ranges::min_element(exits, {}, [](const ExitCandidate& exit) {
      return std::pair(exit.state == HealthState::admin_down, exit.priority);
    });
    if (best == exits.end()) return std::nullopt;
    return static_cast<std::size_t>(best - exits.begin());
  }();
  if (!preferred || *preferred >= exits.size()) return false;
  const auto as_good = [&](const ExitCandidate& e) {
    return usable(e.state) && e.priority == exits[*preferred].priority;
  };
  if (pin ? usable(exits[*preferred].state) : std::ranges::any_of(exits, as_good)) return false;
  const bool any = std::ranges::any_of(exits, [](const auto& e) { return usable(e.state); });
  if (all_fell_ && any && !return_until_) return_until_ = now + return_grace;
  const auto until = std::max(*grace_until_, return_until_.value_or(*grace_until_));
  if (now >= until || !any) return false;
  wait_until(until);
  return true;
}

// When the traffic may move from the current exit to that one; none: it is no better.
std::optional<TimePoint> ExitSelector::switch_at(const Exits& exits, std::size_t to,
                                                 TimePoint now) {
  const ExitCandidate& now_used = exits[*current_];
  const ExitCandidate& other = exits[to];
  const Class its = class_of(other, false);
  const Class ours = class_of(now_used, true);
  if (its != Class::good && its >= ours) return std::nullopt;
  if (ours == Class::impaired && its == Class::good) return now;
  const bool better_class = its < ours;
  if (better_class || (its == ours && other.priority < now_used.priority))
    return *waiting_[to].usable_since + hold_;
  if (its == ours && other.priority == now_used.priority && waiting_[to].better_since)
    return *waiting_[to].better_since + settle;
  return std::nullopt;
}

std::optional<std::size_t> ExitSelector::select(const Exits& exits, std::optional<std::size_t> pin,
                                                TimePoint now, bool underlay_down) {
  due_.reset();
  if (!grace_until_) grace_until_ = now + grace;
  note(exits, now);
  const bool starting = now < *grace_until_;
  // Once the traffic went elsewhere, the former choice is an exit like any other.
  if (!starting || current_ != resumed_) resumed_.reset();
  const auto eligible = [&](std::size_t i) {
    return (usable(exits[i].state) || resumed_ == i) && (!pin || *pin == i);
  };
  if (current_ && (*current_ >= exits.size() || !eligible(*current_))) {
    if (in_doubt(exits, pin, now)) return current_;
    all_fell_ = underlay_down;
    current_.reset();
  }
  doubt_until_.reset();
  if (!current_) {
    if (still_starting(exits, pin, now)) return std::nullopt;
    for (std::size_t i = 0; i < exits.size(); ++i)
      if (eligible(i) && (!current_ || rank(exits[i]) < rank(exits[*current_]))) current_ = i;
    if (current_) {
      all_fell_ = false;
      return_until_.reset();
    }
    return current_;
  }
  if (resumed_ && current_ == resumed_) {
    wait_until(*grace_until_);
    if (!usable(exits[*current_].state)) return current_;
  }
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < exits.size(); ++i) {
    if (i == *current_ || !eligible(i)) continue;
    const auto at = switch_at(exits, i, now);
    if (!at) continue;
    if (*at > now)
      wait_until(*at);
    else if (!best || rank(exits[i]) < rank(exits[*best]))
      best = i;
  }
  if (best) current_ = best;
  return current_;
}

}  // namespace oceanid::tunnel
