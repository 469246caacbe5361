#pragma once
// A simulated tunnel: echoes and answers with delay, jitter and loss, driven as the prober drives
// it. Time jumps from event to event, so that a day takes seconds.

#include "tunnel/core/health_path.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <queue>
#include <random>
#include <vector>

namespace oceanid::tunnel::testing {

struct SimulatedLine {
  Duration delay{std::chrono::milliseconds(10)};  // round trip without jitter
  Duration jitter{0};                             // up to this much more, for each round trip
  double loss = 0;                                // of round trips
  bool cut = false;
};

class SimulatedTunnel {
 public:
  SimulatedTunnel(SimulatedLine line, std::uint32_t seed, Duration interval,
                  std::uint32_t down_after)
      : line(line), path(interval, down_after), random_(seed) {}

  // Until `end`; `changed` hears of each new state.
  void run(TimePoint end, const std::function<void(PathState, TimePoint)>& changed = {}) {
    while (now < end) {
      TimePoint next = std::min(path.next_request(now), end);
      if (const auto check = path.next_check()) next = std::min(next, *check);
      if (!arrivals_.empty()) next = std::min(next, arrivals_.top().at);
      now = std::max(now, next);
      while (!arrivals_.empty() && arrivals_.top().at <= now) {
        if (!line.cut) path.on_reply(arrivals_.top().nonce, now);
        arrivals_.pop();
      }
      path.check(now);
      if (path.next_request(now) <= now) ask();
      if (changed && path.state() != said_) changed(path.state(), now);
      if (said_ == PathState::up && path.state() == PathState::suspect) ++suspicions;
      if (said_ != PathState::down && path.state() == PathState::down) ++falls;
      said_ = path.state();
    }
  }

  SimulatedLine line;
  PathHealth path;
  TimePoint now{std::chrono::hours(1)};
  std::uint64_t falls = 0;
  std::uint64_t suspicions = 0;

 private:
  struct Arrival {
    TimePoint at;
    std::uint64_t nonce;
    bool operator>(const Arrival& other) const { return at > other.at; }
  };

  void ask() {
    path.on_sent(++nonce_, now);
    if (line.cut || chance_(random_) < line.loss) return;
    const auto extra =
        static_cast<std::int64_t>(chance_(random_) * static_cast<double>(line.jitter.count()));
    arrivals_.push({now + line.delay + Duration(extra), nonce_});
  }

  std::mt19937 random_;
  std::uniform_real_distribution<double> chance_{0, 1};
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
  std::uint64_t nonce_ = 0;
  PathState said_ = PathState::init;
};

}  // namespace oceanid::tunnel::testing
