#include "tunnel/core/health_exit.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

// Entered above the first figure of each pair, left after `calm` below the second.
constexpr double much_loss = 0.02;
constexpr double little_loss = 0.01;
constexpr std::uint64_t fewest_losses = 2;  // one lost packet is no trend
constexpr Duration longer = 50ms;
constexpr Duration slightly_longer = 30ms;
constexpr Duration calm = 10s;

bool slow(const ExitEvidence& evidence, bool already) {
  if (!evidence.rtt || !evidence.baseline) return false;
  const Duration usual = *evidence.baseline;
  return already ? *evidence.rtt > std::max<Duration>(usual + usual / 2, usual + slightly_longer)
                 : *evidence.rtt > std::max<Duration>(usual * 2, usual + longer);
}

bool lossy(const ExitEvidence& evidence, bool already) {
  return evidence.lost >= fewest_losses && evidence.loss > (already ? little_loss : much_loss);
}

Fall fall_of(const ExitEvidence& evidence) {
  if (!evidence.link) return Fall::link;
  if (evidence.path == PathState::down) return Fall::echo;
  if (!evidence.serves) return Fall::exit_uplink;
  if (evidence.exit_address == Verdict::bad) return Fall::exit_address;
  if (evidence.canaries == Verdict::bad) return Fall::canaries;
  return Fall::none;
}

// Everything that was asked has answered, and well enough.
bool proven(const ExitEvidence& evidence) {
  return carries(evidence.path) && evidence.full_size != Verdict::pending &&
         evidence.canaries != Verdict::pending && evidence.exit_address != Verdict::pending;
}

}  // namespace

std::string_view to_string(HealthState state) {
  switch (state) {
    case HealthState::admin_down:
      return "admin_down";
    case HealthState::init:
      return "init";
    case HealthState::up:
      return "up";
    case HealthState::degraded:
      return "degraded";
    case HealthState::suspect:
      return "suspect";
    case HealthState::down:
      return "down";
    case HealthState::hold:
      return "hold";
  }
  return "init";
}

std::string_view to_string(Fall fall) {
  switch (fall) {
    case Fall::none:
      return "none";
    case Fall::link:
      return "link";
    case Fall::echo:
      return "echo";
    case Fall::exit_uplink:
      return "exit_uplink";
    case Fall::canaries:
      return "canaries";
    case Fall::exit_address:
      return "exit_address";
  }
  return "none";
}

void ExitHealth::enter(HealthState state, TimePoint now) {
  if (state == state_) return;
  state_ = state;
  since_ = now;
}

bool ExitHealth::degraded(const ExitEvidence& evidence, TimePoint now) {
  impaired_ = evidence.full_size == Verdict::bad;
  const bool reason = impaired_ || evidence.full_size == Verdict::partial ||
                      evidence.canaries == Verdict::partial || evidence.stream_transport ||
                      slow(evidence, degraded_) || lossy(evidence, degraded_);
  if (reason) {
    degraded_ = true;
    calm_since_.reset();
  } else if (degraded_) {
    if (!calm_since_) calm_since_ = now;
    if (now - *calm_since_ >= calm) degraded_ = false;
  }
  if (!degraded_) calm_since_.reset();
  return degraded_;
}

HealthState ExitHealth::working(const ExitEvidence& evidence, TimePoint now) {
  const bool lower = degraded(evidence, now);
  // In init: the probe began anew (a reload), and its verdict comes within moments.
  if (evidence.path != PathState::up) return HealthState::suspect;
  return lower ? HealthState::degraded : HealthState::up;
}

HealthState ExitHealth::update(const ExitEvidence& evidence, TimePoint now) {
  if (!evidence.enabled) {
    fall_ = Fall::none;
    enter(HealthState::admin_down, now);
    return state_;
  }
  if (state_ == HealthState::admin_down) enter(HealthState::init, now);
  if (const Fall fall = fall_of(evidence); fall != Fall::none) {
    if (usable(state_)) {
      damping_.fell(now);  // also a relapse during the hold: that is what flapping is
      fell_at_ = now;
    }
    if (state_ != HealthState::down) forgiven_ = false;
    fall_ = fall;
    degraded_ = impaired_ = false;
    calm_since_.reset();
    enter(HealthState::down, now);
    return state_;
  }
  const bool began = state_ == HealthState::init || state_ == HealthState::down;
  if (began && !proven(evidence)) return state_;
  if (state_ == HealthState::down && fell_at_) {
    fall_ = Fall::none;
    enter(HealthState::hold, now);
  }
  if (state_ == HealthState::hold) {
    const HealthState next = working(evidence, now);
    const bool waited = forgiven_ || (now - since_ >= hold_ && !suppressed(now));
    if (waited && next != HealthState::suspect) enter(next, now);
    return state_;
  }
  // From init, or from a fall of one that had never been used: nothing to wait for.
  fall_ = Fall::none;
  enter(working(evidence, now), now);
  return state_;
}

void ExitHealth::forgive(TimePoint now) {
  if (forgiven_ || state_ != HealthState::down) return;
  forgiven_ = true;
  damping_.forgive(now);
}

std::optional<TimePoint> ExitHealth::next_change() const {
  if (state_ == HealthState::hold) {
    const TimePoint held = since_ + hold_;
    return std::max(held, damping_on_ ? damping_.reuse_at().value_or(held) : held);
  }
  if (degraded_ && calm_since_) return *calm_since_ + calm;
  return std::nullopt;
}

}  // namespace oceanid::tunnel
