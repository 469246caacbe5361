#pragma once
// Probes of one path that were sent and what became of them: round-trip time (RFC 6298), the share
// that gets lost for other reasons than size, and the evidence that a size no longer passes. A loss
// counts as one of size only while nothing as large, sent later, has arrived (quinn #1855: else
// ordinary losses look like a black hole). Bounded memory; time passed in.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace oceanid::tunnel {

class ProbeLedger {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = Clock::duration;
  struct Delivered {
    unsigned size;
    Time sent;
  };

  std::uint64_t sent(unsigned size, Time now);                        // the probe's number
  std::optional<Delivered> acknowledged(std::uint64_t id, Time now);  // none: not (any more) ours
  std::optional<Delivered> withdrawn(std::uint64_t id);               // it never left
  std::optional<unsigned> size_of(std::uint64_t id) const;            // none: not (any more) ours
  void give_up(std::uint64_t id);  // overdue already; an answer may come all the same
  void expire(Time now);
  void forget_all() { open_.clear(); }

  // Overdue probes of exactly this size, sent at `from` or later: larger ones are the search's.
  std::size_t missing(unsigned size, Time from = Time::min()) const;
  std::vector<Time> missing_since(unsigned size, Time from) const;  // when they were sent
  std::optional<Time> first_due(unsigned size) const;  // when the next of them will be overdue
  Duration patience() const;                           // after which a probe is overdue
  std::optional<Duration> rtt() const { return smoothed_; }
  double loss() const;
  // Probes lost in a row until chance is no explanation, at the share of losses of this path.
  unsigned enough(double chance) const;

 private:
  struct Open {
    std::uint64_t id;
    unsigned size;
    Time sent;
    bool overdue;
  };
  void count(bool lost);

  std::deque<Open> open_;
  std::uint64_t last_id_ = 0;
  std::optional<Duration> smoothed_;
  Duration variation_{};
  double counted_ = 0;
  double lost_ = 0;
};

}  // namespace oceanid::tunnel
