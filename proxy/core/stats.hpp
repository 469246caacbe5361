#pragma once
// What the proxy counts, as plain values. Each worker loop owns one StatsSnapshot and updates it
// without a lock; the admin endpoint asks each loop for a copy and merges them. Durations are
// seconds.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>

namespace oceanid::proxy {

// Fixed buckets, cumulative only when printed. 0.5 ms (same rack) to 30 s (past every connect
// deadline).
class Histogram {
 public:
  static constexpr std::array<double, 15> bounds = {
      0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0};

  void observe(double seconds);
  // counts()[i]: observations at most bounds[i] and over the bound before; the last: over all
  // bounds.
  std::span<const std::uint64_t> counts() const { return counts_; }
  std::uint64_t count() const;
  double sum() const { return sum_; }

  Histogram& operator+=(const Histogram& other);
  bool operator==(const Histogram&) const = default;

 private:
  std::array<std::uint64_t, bounds.size() + 1> counts_{};
  double sum_ = 0;
};

// How names were resolved: each is counted as one of the first five; address literals are not.
struct DnsCounts {
  std::uint64_t hit = 0;
  std::uint64_t negative = 0;  // known to have no address
  std::uint64_t stale = 0;     // by expired addresses, since the servers did not answer
  std::uint64_t miss = 0;      // the servers were asked
  std::uint64_t hosts = 0;     // by the host's own file
  std::uint64_t prefetch = 0;  // questions in the background
  std::uint64_t entries = 0;   // names in the caches now

  DnsCounts& operator+=(const DnsCounts& other);
  bool operator==(const DnsCounts&) const = default;
};

struct StatsSnapshot {
  std::map<std::pair<std::string, std::string>, std::uint64_t> requests;  // {Reason token, role}
  std::uint64_t tunnels_open = 0;
  std::uint64_t bytes_up = 0;  // live, not only at close
  std::uint64_t bytes_down = 0;
  std::map<std::string, std::uint64_t> guard_denied;  // by GuardVerdict::range
  std::map<std::string, std::uint64_t> shed;          // by Reason token
  std::uint64_t breakers_open = 0;                    // circuits that are open now
  std::uint64_t breakers_opened = 0;                  // how often one has opened
  std::map<std::string, std::uint64_t> forward_open;  // by forward
  // {forward, HOST:PORT} of probed targets; true: it answers, as far as every loop knows.
  std::map<std::pair<std::string, std::string>, bool> forward_targets;
  DnsCounts dns;
  Histogram dns_seconds;
  Histogram connect_seconds;
  Histogram first_byte_seconds;

  StatsSnapshot& operator+=(const StatsSnapshot& other);
  bool operator==(const StatsSnapshot&) const = default;
};

}  // namespace oceanid::proxy
