#include "tunnel/core/echo_tracker.hpp"

#include <algorithm>

namespace oceanid::tunnel {

EchoTracker::EchoTracker(Duration interval, std::uint32_t down_after)
    : interval_(interval), down_after_(std::max<std::uint32_t>(down_after, 1)) {}

void EchoTracker::on_sent(std::uint64_t nonce, Time now) {
  ++sent_total_;
  requests_[sent_total_ % remembered] = Request{nonce, sent_total_, now};
  if (unanswered_ == 0) first_unanswered_ = now;
  ++unanswered_;
}

bool EchoTracker::on_reply(std::uint64_t nonce, Time now) {
  const auto request = std::ranges::find_if(
      requests_, [&](const Request& r) { return r.number != 0 && r.nonce == nonce; });
  if (request == requests_.end()) return false;
  const Duration sample = now - request->sent;
  smoothed_ = smoothed_ ? *smoothed_ + (sample - *smoothed_) / 8 : sample;
  ++answered_total_;
  ++in_row_;
  last_reply_ = now;
  if (request->number > newest_answered_) {
    newest_answered_ = request->number;
    unanswered_ = static_cast<std::uint32_t>(sent_total_ - newest_answered_);
  }
  request->number = 0;
  if (state_ != EchoState::up) enter(EchoState::up, now);
  return true;
}

std::optional<EchoTracker::Time> EchoTracker::verdict_at() const {
  if (state_ == EchoState::down || unanswered_ < down_after_) return std::nullopt;
  // After a pause of our own the silence counts from our first question, not from the last answer.
  const Time quiet_since =
      last_reply_ ? std::max(*last_reply_, *first_unanswered_ - interval_) : *first_unanswered_;
  return quiet_since + interval_ * down_after_;
}

EchoState EchoTracker::check(Time now) {
  const auto verdict = verdict_at();
  if (verdict && now >= *verdict) enter(EchoState::down, now);
  return state_;
}

void EchoTracker::enter(EchoState state, Time now) {
  state_ = state;
  since_ = now;
  if (state == EchoState::down) in_row_ = 0;
}

}  // namespace oceanid::tunnel
