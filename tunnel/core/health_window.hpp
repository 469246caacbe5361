#pragma once
// What the last echoes say in numbers: how regularly answers came (for phi-accrual), how many were
// lost, how long round trips take now and took before. Sums are kept in whole microseconds, so that
// a year of updates does not drift. Fixed memory, constant time for each echo. Pure.

#include <array>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace oceanid::tunnel {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::nanoseconds;

// Intervals between answers; phi(t) = -log10 of the chance that a living path stays silent for t,
// under a normal distribution (Hayashibara et al., "The phi accrual failure detector", 2004).
// Losses widen the intervals and so the patience: a lossy path is judged by its own habits.
class ArrivalWindow {
 public:
  void add(Duration interval);
  void clear();
  // `usual`: assumed while there is little experience.
  double phi(Duration silence, Duration usual) const;
  // The silence at which phi reaches 8: one false alarm in 10^8 looks.
  Duration suspicious(Duration usual) const;

 private:
  struct Moments {
    double mean;
    double deviation;
  };
  Moments moments(Duration usual) const;

  static constexpr std::size_t size = 200;
  static constexpr std::size_t few = 8;
  std::array<std::uint32_t, size> microseconds_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  std::int64_t sum_ = 0;
  std::int64_t squares_ = 0;
};

// The outcomes of the last `size` echoes.
class LossWindow {
 public:
  explicit LossWindow(std::size_t size) : size_(size < capacity ? size : capacity) {}

  void add(std::uint64_t number, bool lost);
  void answered_late(std::uint64_t number);  // it had been given up
  void clear();
  std::size_t lost() const { return lost_; }
  std::size_t count() const { return count_; }
  std::size_t size() const { return size_; }
  double ratio() const {
    return count_ == 0 ? 0 : static_cast<double>(lost_) / static_cast<double>(count_);
  }

 private:
  static constexpr std::size_t capacity = 512;
  std::size_t size_;
  std::bitset<capacity> outcomes_;
  std::array<std::uint64_t, capacity> numbers_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  std::size_t lost_ = 0;
};

// Smoothed as in RFC 6298, and the shortest round trip of the last five to ten minutes.
class RoundTrips {
 public:
  void add(Duration sample, TimePoint now);
  std::optional<Duration> smoothed() const { return smoothed_; }
  std::optional<Duration> baseline() const;
  Duration variation() const { return variation_; }

 private:
  static constexpr std::chrono::minutes epoch{5};
  std::optional<Duration> smoothed_;
  Duration variation_{0};
  std::optional<Duration> shortest_;
  std::optional<Duration> shortest_before_;
  TimePoint epoch_began_{};
};

}  // namespace oceanid::tunnel
