#pragma once
// Drift: something of ours in the kernel was changed by somebody else. What drifted is not told by
// the kernel's notices but found by comparison (what stood after our last change, what is there
// now), so that our own work, lost notices and notices about nothing make no difference; the
// notices tell when to look and who it was. Pure.

#include "routing/core/diff.hpp"
#include "routing/core/nft_touch.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace oceanid::routing {

enum class DriftKind : std::uint8_t { rule, route, nft, link, address, sysctl };
std::string_view to_string(DriftKind kind);

struct Culprit {
  std::string name;       // of the process; empty: unknown
  std::uint32_t pid = 0;  // 0: unknown
  bool operator==(const Culprit&) const = default;
};
std::string to_string(const Culprit& culprit);  // "nft (pid 123)", "an unknown process"

using DriftClock = std::chrono::steady_clock;

// A notice that somebody else touched something of ours.
struct Sign {
  DriftKind kind = DriftKind::rule;
  std::string object;  // as Drift::object
  Culprit culprit;
  std::string text;  // what was done; empty: only the comparison tells
  DriftClock::time_point at;
  bool operator==(const Sign&) const = default;
};

enum class Deed : std::uint8_t { deleted, added, changed };

struct Drift {
  DriftKind kind = DriftKind::rule;
  Deed deed = Deed::changed;
  std::string what;    // "rule 5150: from 10.42.1.0/24 lookup 13128"
  std::string object;  // names it, for the match with a sign
  bool operator==(const Drift&) const = default;
};

std::string object_of(const Rule& rule);
std::string object_of(const Route& route);
std::string object_of(const IfName& link, const InterfaceAddress& address);

// What stands once `desired` was applied to a kernel with these devices; `refused` are the changes
// that the kernel did not take.
Actual standing_after(const NetworkState& desired, const Actual& actual,
                      const std::vector<Change>& refused);

// Which of `changes` (from `actual` to `desired`) undo somebody else's work, and which links went.
// `nft_touched`: the tables were changed since our last commit.
std::vector<Drift> find_drift(const Actual& standing, const NetworkState& desired,
                              const Actual& actual, const Changes& changes, bool nft_touched);

// Drifts of one kind by one process.
struct Incident {
  DriftKind kind = DriftKind::rule;
  Culprit culprit;
  std::string what;  // "deleted table inet oceanid", "deleted 20 rules and added 1"
  std::optional<DriftClock::time_point> since;  // the first sign; none: found by an audit
  bool operator==(const Incident&) const = default;
};
std::vector<Incident> incidents(const std::vector<Drift>& drifts, const std::vector<Sign>& signs);
// "nft (pid 123) deleted table inet oceanid; repaired in 12 ms"
std::string describe(const Incident& incident, std::chrono::microseconds repaired_in);

// Counts by kind and culprit. Names of processes come from outside: only so many, then "other".
class DriftCounts {
 public:
  static constexpr std::size_t most_culprits = 16;
  void count(const Incident& incident);
  const std::map<std::pair<DriftKind, std::string>, std::uint64_t>& all() const { return counts_; }

 private:
  std::vector<std::string> names_;
  std::map<std::pair<DriftKind, std::string>, std::uint64_t> counts_;
};

// When a drift may be repaired: at once, but two programs that each put back what the other takes
// away must not keep the machine busy. After `burst` repairs within `window` every further one
// waits, twice as long each time.
class RepairPacer {
 public:
  static constexpr std::size_t burst = 10;
  static constexpr std::chrono::seconds window{60};
  static constexpr std::chrono::milliseconds gap{20};  // a purge deletes one by one
  static constexpr std::chrono::milliseconds first_pause{250};
  static constexpr std::chrono::milliseconds longest_pause{5000};

  void repaired(DriftClock::time_point now);
  DriftClock::time_point next(DriftClock::time_point now);
  bool fighting(DriftClock::time_point now);
  std::size_t recent() const { return repairs_.size(); }
  std::chrono::milliseconds pause() const { return pause_; }

 private:
  void forget(DriftClock::time_point now);
  std::vector<DriftClock::time_point> repairs_;  // within the window, oldest first
  std::chrono::milliseconds pause_{0};
};

}  // namespace oceanid::routing
