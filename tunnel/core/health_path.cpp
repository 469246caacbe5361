#include "tunnel/core/health_path.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t burst = 3;
constexpr Duration burst_pace = 50ms;
constexpr Duration longest_silence = 1s;
constexpr std::uint32_t proof_at_start = 5;
constexpr std::uint32_t proof_after_down = 10;
constexpr Duration longest_patience = 2s;
constexpr Duration loss_memory = 10s;
constexpr Duration unheard_memory = 2s;  // the peer repeats it twice a second

std::size_t loss_window(Duration interval) {
  return static_cast<std::size_t>(std::clamp<std::int64_t>(loss_memory / interval, 10, 500));
}

}  // namespace

std::string_view to_string(PathState state) {
  switch (state) {
    case PathState::init:
      return "init";
    case PathState::up:
      return "up";
    case PathState::suspect:
      return "suspect";
    case PathState::down:
      return "down";
  }
  return "init";
}

PathHealth::PathHealth(Duration interval, std::uint32_t down_after)
    : interval_(interval),
      pace_(std::min(burst_pace, interval / 4)),
      down_after_(std::max<std::uint32_t>(down_after, 1)),
      losses_(loss_window(interval)) {}

PathHealth::Time PathHealth::next_request(Time now) const {
  if (!last_sent_) return now;
  if (extra_left_ > 0) return std::min(regular_due_, *last_sent_ + pace_);
  // Proving: the next question follows the answer.
  const bool proving = state_ == PathState::init || state_ == PathState::down;
  if (proving && in_row_ > 0 && newest_answered_ == sent_)
    return std::min(regular_due_, *last_sent_ + pace_);
  return regular_due_;
}

void PathHealth::on_sent(std::uint64_t nonce, Time now) {
  Request& request = requests_[(sent_ + 1) % remembered];
  if (request.number > resolved_) {  // a very long round trip: the oldest is given up
    resolve(request, !request.answered);
    resolved_ = request.number;
  }
  const bool is_regular = now >= regular_due_;
  ++sent_;
  if (is_regular) {
    ++regular_;
    // No burst to catch up after a pause.
    const bool first = regular_due_ == Time::min();
    regular_due_ =
        first ? now + interval_ : std::max(regular_due_ + interval_, now + interval_ / 2);
  } else if (extra_left_ > 0) {
    --extra_left_;
  }
  if (!first_unanswered_) first_unanswered_ = now;
  request = Request{nonce, sent_, regular_, now, is_regular, false};
  last_sent_ = now;
}

bool PathHealth::on_reply(std::uint64_t nonce, Time now) {
  const auto request = std::ranges::find_if(requests_, [&](const Request& r) {
    return r.number != 0 && r.nonce == nonce && !r.answered;
  });
  if (request == requests_.end()) return false;
  request->answered = true;
  trips_.add(now - request->sent, now);
  ++answered_;
  ++in_row_;
  if (request->number <= resolved_ && request->is_regular) losses_.answered_late(request->number);
  if (request->is_regular) {
    if (last_regular_reply_) arrivals_.add(now - *last_regular_reply_);
    last_regular_reply_ = now;
  }
  last_reply_ = now;
  listening_since_.reset();
  forgiven_ = false;
  if (request->number > newest_answered_) {
    newest_answered_ = request->number;
    newest_regular_ = request->regular;
    first_unanswered_.reset();
    if (newest_answered_ < sent_)
      first_unanswered_ = requests_[(newest_answered_ + 1) % remembered].sent;
  }
  give_up_lost(now);
  if (state_ == PathState::suspect || (state_ == PathState::init && in_row_ >= proof_at_start) ||
      (state_ == PathState::down && in_row_ >= proof_after_down))
    enter(PathState::up, now);
  return true;
}

// Answered or overdue, in the order of sending.
void PathHealth::give_up_lost(Time now) {
  while (resolved_ < sent_) {
    const Request& next = requests_[(resolved_ + 1) % remembered];
    if (!next.answered && now < next.sent + patience()) return;
    resolve(next, !next.answered);
    resolved_ = next.number;
  }
}

void PathHealth::resolve(const Request& request, bool lost) {
  if (request.is_regular) losses_.add(request.number, lost);
  if (lost) in_row_ = 0;
}

Duration PathHealth::patience() const {
  if (!trips_.smoothed()) return 1s;
  return std::min<Duration>(*trips_.smoothed() + 4 * trips_.variation() + pace_, longest_patience);
}

PathHealth::Time PathHealth::quiet_since() const {
  // After a pause the silence counts from our first question, not from the last answer.
  Time since = last_reply_.value_or(Time::min());
  if (first_unanswered_)
    since = std::max(since, *first_unanswered_ - (last_reply_ ? interval_ : 0ns));
  if (listening_since_) since = std::max(since, *listening_since_);
  return since;
}

// Once for each silence: a machine that stalls all the time must find the fault all the same.
void PathHealth::note_pause(Time now) {
  const Duration usual = std::max<Duration>(2 * interval_, 2 * pace_);
  if (last_check_ && now - *last_check_ > usual && !forgiven_ && first_unanswered_) {
    forgiven_ = true;
    listening_since_ = now;
    newest_regular_ = regular_;
  }
  last_check_ = now;
}

std::optional<PathHealth::Time> PathHealth::dead_at() const {
  if (state_ == PathState::down || regular_ - newest_regular_ < down_after_) return std::nullopt;
  const Time quiet = quiet_since();
  const Duration least = interval_ * down_after_;
  if (state_ == PathState::init) return quiet + least;
  const Duration most = std::max<Duration>(longest_silence, least + 2 * interval_);
  Time agreed = quiet + std::max(least, arrivals_.suspicious(interval_));
  // The last extra echo is given its time, too.
  if (state_ == PathState::suspect)
    agreed = std::max(agreed, *since_ + (burst - 1) * pace_ + patience());
  return std::min(agreed, quiet + most);
}

PathState PathHealth::check(Time now) {
  note_pause(now);
  give_up_lost(now);
  if (state_ == PathState::up && first_unanswered_ && silence(now) >= interval_ + interval_ / 2) {
    enter(PathState::suspect, now);
    extra_left_ = burst;
  }
  if (const auto dead = dead_at(); dead && now >= *dead) enter(PathState::down, now);
  return state_;
}

std::optional<PathHealth::Time> PathHealth::next_check() const {
  if (state_ == PathState::up && first_unanswered_)
    return quiet_since() + interval_ + interval_ / 2;
  return dead_at();
}

void PathHealth::enter(PathState state, Time now) {
  if (state == PathState::down) {
    in_row_ = 0;
    extra_left_ = 0;
    last_regular_reply_.reset();
    arrivals_.clear();
  }
  if (state == PathState::up) {
    extra_left_ = 0;
    if (state_ != PathState::suspect) losses_.clear();
  }
  state_ = state;
  since_ = now;
}

bool PathHealth::hears_peer(Time now) const {
  return last_reply_ && now - *last_reply_ < interval_ * down_after_;
}

bool PathHealth::unheard(Time now) const {
  return unheard_at_ && now - *unheard_at_ < unheard_memory &&
         (!last_reply_ || *last_reply_ < *unheard_at_);
}

}  // namespace oceanid::tunnel
