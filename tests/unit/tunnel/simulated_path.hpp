#pragma once
// One direction of a path for the searcher, in virtual time: a size that it carries, random losses
// in both directions, delay with jitter (answers may overtake each other), and routers that say
// Packet Too Big or keep silent. Runs thousands of virtual seconds in one of ours.

#include "tunnel/core/path_mtu_search.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <random>

namespace oceanid::tunnel::testing {

class SimulatedPath {
 public:
  using Time = PathMtuSearch::Time;
  using Duration = PathMtuSearch::Duration;

  SimulatedPath(std::uint64_t seed, PathMtuSearch& search) : random_(seed), search_(search) {}

  unsigned mtu = 1500;
  unsigned link = 1500;  // a larger probe is refused by our own kernel
  double loss = 0;       // of each direction
  bool silent = true;
  bool cut = false;
  bool answers = true;  // the other end has a responder
  bool traffic = true;
  Duration rtt = std::chrono::milliseconds(20);
  std::function<void(Time)> watch;  // after every event

  Time now{std::chrono::hours(1)};
  std::uint64_t probes = 0;
  std::uint64_t bytes = 0;

  double unit() { return std::uniform_real_distribution<double>(0, 1)(random_); }
  unsigned number(unsigned low, unsigned high) {
    return std::uniform_int_distribution<unsigned>(low, high)(random_);
  }

  void run(Duration duration) {
    const Time end = now + duration;
    while (now < end) {
      while (const auto probe = search_.next_probe(now))
        send(*probe);
      if (watch) watch(now);
      Time next = std::min(search_.wake_at(), end);
      if (!arrivals_.empty()) next = std::min(next, arrivals_.begin()->first);
      if (traffic) next = std::min(next, traffic_at_);
      now = std::max(next, now + std::chrono::microseconds(1));
      if (traffic && now >= traffic_at_) {
        search_.on_traffic(now);
        traffic_at_ = now + std::chrono::seconds(1);
      }
      while (!arrivals_.empty() && arrivals_.begin()->first <= now) {
        const auto arrival = arrivals_.begin()->second;
        arrivals_.erase(arrivals_.begin());
        if (arrival.hint)
          search_.on_hint(arrival.id, *arrival.hint, now);
        else
          search_.on_ack(arrival.id, now);
      }
    }
  }

 private:
  struct Arrival {
    std::uint64_t id;
    std::optional<unsigned> hint;
  };

  void send(const PathMtuSearch::Probe& probe) {
    ++probes;
    bytes += probe.size;
    if (probe.size > link) return search_.on_refused(probe.id, now);
    if (cut || !answers || unit() < loss) return;
    const auto delay = std::chrono::duration_cast<Duration>(rtt * (0.95 + 0.2 * unit()));
    if (probe.size > mtu) {
      if (!silent) arrivals_.emplace(now + delay / 2, Arrival{probe.id, mtu});
      return;
    }
    if (unit() >= loss) arrivals_.emplace(now + delay, Arrival{probe.id, {}});
  }

  std::mt19937_64 random_;
  PathMtuSearch& search_;
  std::multimap<Time, Arrival> arrivals_;
  Time traffic_at_{};
};

}  // namespace oceanid::tunnel::testing
