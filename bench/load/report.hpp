#pragma once
// What a measurement prints: one JSON object a line on standard output. {"event":"begin"} and
// {"event":"end"} mark the measured window, so that the runner reads the proxy's CPU clock for
// exactly that time; then follows the result.

#include "bench/load/net.hpp"
#include "bench/load/options.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace oceanid::bench {

// Times in nanoseconds, every one kept: no histogram's error. Above 4.29 s they saturate.
class Samples {
 public:
  void add(Clock::duration time);
  std::size_t count() const { return times_.size(); }
  // {"p50_us":…,"p99_us":…,"p999_us":…}; null when there is none. Reorders the samples.
  std::string to_json();

 private:
  std::vector<std::uint32_t> times_;
};

// Counts failures and keeps the first one's reason, which is nearly always every one's.
class Failures {
 public:
  void add(const std::string& reason);
  std::size_t count() const { return count_; }
  std::string to_json() const;

 private:
  std::size_t count_ = 0;
  std::string first_;
};

void print_line(const std::string& json);

// The warm-up and the measured window of a run, driven by the poller until it is over.
class Window {
 public:
  Window(const Options& options, Clock::time_point start);
  bool contains(Clock::time_point time) const { return time >= begin_ && time < end_; }
  Clock::time_point end() const { return end_; }

  // Polls until the window's end. `between` runs after every poll (at least every 10 ms),
  // `at_begin` once when the window opens, `at_end` once when it closes.
  template <typename Between, typename AtBegin, typename AtEnd>
  Result<void> run(Poller& poller, Between between, AtBegin at_begin, AtEnd at_end) {
    for (auto now = Clock::now(); now < end_; now = Clock::now()) {
      if (!begun_ && now >= begin_) {
        open();
        at_begin();
      }
      const auto limit =
          std::min<Clock::duration>((begun_ ? end_ : begin_) - now, std::chrono::milliseconds(10));
      if (auto polled = poller.poll(limit); !polled) {
        return polled;
      }
      between();
    }
    at_end();
    close();
    return {};
  }

  double measured_seconds() const { return seconds(closed_at_ - opened_at_); }
  double client_cpu_seconds() const { return cpu_; }

 private:
  void open();
  void close();

  Clock::time_point begin_;
  Clock::time_point end_;
  bool begun_ = false;
  Clock::time_point opened_at_;
  Clock::time_point closed_at_;
  double cpu_ = 0;
};

}  // namespace oceanid::bench
