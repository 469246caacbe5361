#include "tunnel/core/health_window.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace oceanid::tunnel {
namespace {

// Below this a deviation is the scheduler's, not the path's.
constexpr double least_deviation = 20'000;             // microseconds
constexpr double phi_threshold_in_deviations = 5.612;  // where the normal tail is 10^-8

double in_microseconds(Duration duration) {
  return static_cast<double>(duration.count()) / 1e3;
}

}  // namespace

void ArrivalWindow::add(Duration interval) {
  const auto clipped = std::clamp<std::int64_t>(interval.count() / 1000, 0,
                                                std::numeric_limits<std::uint32_t>::max());
  const auto sample = static_cast<std::uint32_t>(clipped);
  if (count_ == size) {
    const std::int64_t oldest = microseconds_[next_];
    sum_ -= oldest;
    squares_ -= oldest * oldest;
  } else {
    ++count_;
  }
  microseconds_[next_] = sample;
  next_ = (next_ + 1) % size;
  sum_ += clipped;
  squares_ += clipped * clipped;
}

void ArrivalWindow::clear() {
  *this = ArrivalWindow();
}

ArrivalWindow::Moments ArrivalWindow::moments(Duration usual) const {
  if (count_ < few) return {in_microseconds(usual), least_deviation};
  const auto count = static_cast<double>(count_);
  const double mean = static_cast<double>(sum_) / count;
  const double variance = static_cast<double>(squares_) / count - mean * mean;
  return {mean, std::max(least_deviation, std::sqrt(std::max(0.0, variance)))};
}

double ArrivalWindow::phi(Duration silence, Duration usual) const {
  const auto [mean, deviation] = moments(usual);
  const double z = (in_microseconds(silence) - mean) / deviation;
  return -std::log10(0.5 * std::erfc(z / std::numbers::sqrt2));
}

Duration ArrivalWindow::suspicious(Duration usual) const {
  const auto [mean, deviation] = moments(usual);
  return Duration(
      static_cast<std::int64_t>((mean + phi_threshold_in_deviations * deviation) * 1e3));
}

void LossWindow::add(std::uint64_t number, bool lost) {
  if (count_ == size_)
    lost_ -= outcomes_[next_] ? 1 : 0;
  else
    ++count_;
  outcomes_[next_] = lost;
  numbers_[next_] = number;
  lost_ += lost ? 1 : 0;
  next_ = (next_ + 1) % size_;
}

void LossWindow::answered_late(std::uint64_t number) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(count_, 64); ++back) {
    const std::size_t at = (next_ + size_ - back) % size_;
    if (numbers_[at] != number || !outcomes_[at]) continue;
    outcomes_[at] = false;
    --lost_;
    return;
  }
}

void LossWindow::clear() {
  outcomes_.reset();
  numbers_ = {};
  next_ = count_ = lost_ = 0;
}

void RoundTrips::add(Duration sample, TimePoint now) {
  if (smoothed_) {
    const Duration error = sample > *smoothed_ ? sample - *smoothed_ : *smoothed_ - sample;
    variation_ += (error - variation_) / 4;
    *smoothed_ += (sample - *smoothed_) / 8;
  } else {
    smoothed_ = sample;
    variation_ = sample / 2;
  }
  if (!shortest_ || now - epoch_began_ >= epoch) {
    shortest_before_ = shortest_;
    shortest_ = sample;
    epoch_began_ = now;
  }
  shortest_ = std::min(*shortest_, sample);
}

std::optional<Duration> RoundTrips::baseline() const {
  if (!shortest_ || !shortest_before_) return shortest_;
  return std::min(*shortest_, *shortest_before_);
}

}  // namespace oceanid::tunnel
