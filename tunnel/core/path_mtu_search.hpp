#pragma once
// Which outer packet size one direction of one path carries: DPLPMTUD (RFC 8899) for a probe
// protocol that acknowledges every probe. Pure: time passed in, probes to send handed out, one
// owner. Sizes are whole IP packets in bytes.
//
//              something acknowledged            no larger size left to try
//   BASE ─────────────────────────► SEARCHING ─────────────────────────► COMPLETE
//    │ nothing, not even 1200        ▲   ▲  ▲       raise timer, other network │
//    ▼                               │   │  └──────────────────────────────────┤
//   ERROR ── something smaller ──────┘   └─── black hole: a size that passes ──┘
//
// All candidates of a round go out 2 ms apart, the largest first, so that the first answers name
// the size; what is missing is sent again each max(1 s, 3 RTT) (RFC 8899 section 5.1.1), at least
// three times and more on a path that loses packets anyhow. Up to 1500 that is one round; jumbo
// sizes are narrowed down in up to three.
//
// The size in force is confirmed every 250 ms while traffic flows. A confirmation that is missing
// begins a duel: the size in force against smaller ones, side by side, until one of the large ones
// arrives or chance no longer explains that none does. Then the size falls to the largest that
// arrived meanwhile, and the search goes on from there. When nothing at all arrives it is an
// outage, and nothing changes. A Packet Too Big (`on_hint`) only begins a duel, or shortens a
// search once the size that it names has passed.

#include "tunnel/core/mtu.hpp"
#include "tunnel/core/probe_ledger.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

namespace oceanid::tunnel {

enum class SearchState : std::uint8_t { base, searching, complete, error };
constexpr std::string_view to_string(SearchState state) {
  switch (state) {
    case SearchState::base:
      return "base";
    case SearchState::searching:
      return "searching";
    case SearchState::complete:
      return "complete";
    case SearchState::error:
      return "error";
  }
  return "base";
}

class PathMtuSearch {
 public:
  using Time = ProbeLedger::Time;
  using Duration = ProbeLedger::Duration;
  struct Settings {
    Family outer = Family::v4;
    unsigned largest = default_path_mtu;  // what the egress link takes
    Duration raise = std::chrono::minutes(10);
  };
  struct Probe {
    std::uint64_t id;
    unsigned size;
  };

  explicit PathMtuSearch(const Settings& settings);

  void start(Time now);                       // the other end answers: begin, or begin again
  std::optional<Probe> next_probe(Time now);  // call until none
  Time wake_at() const;  // when next_probe() has to be asked again, at the latest

  void on_ack(std::uint64_t id, Time now);
  void on_refused(std::uint64_t id, Time now);  // our own link does not take it (EMSGSIZE)
  void on_hint(std::uint64_t id, unsigned size,
               Time now);       // a router's word about one of our probes
  void on_traffic(Time now);    // data went by this path
  void on_suspicion(Time now);  // data-size packets seem to get lost
  void on_network_change(unsigned largest, Time now);

  SearchState state() const;
  // The largest size that is known to pass; none before the first round has said anything.
  std::optional<unsigned> size() const {
    return settled_ && confirmed_ > 0 ? std::optional(confirmed_) : std::nullopt;
  }
  bool in_doubt() const { return duel_.has_value(); }
  std::uint64_t black_holes() const { return black_holes_; }
  std::optional<Duration> rtt() const { return ledger_.rtt(); }

 private:
  struct Duel {
    Time since;
    Time next;             // when the next pair is sent
    std::set<Time> heard;  // when smaller ones that arrived were sent
    unsigned best = 0;     // the largest smaller one that arrived
    Time best_sent{};
    bool ladder = false;  // every smaller candidate has been sent
    unsigned pairs = 0;
  };

  unsigned smallest() const { return smallest_inner_mtu + encapsulation_overhead(settings_.outer); }
  void search(unsigned ceiling, Time now);
  void begin_round(Time now);
  void send_wanted(Time now);
  void finish_round(Time now);
  void complete(Time now);
  void advance(Time now);
  void confirm(Time now);
  void begin_duel(Time now);
  void fight(Time now);
  std::size_t evidence() const;
  void fall(Time now);
  void drop_larger_than_confirmed();
  void urgent(unsigned size) { urgent_.push_back(size); }

  Settings settings_;
  ProbeLedger ledger_;
  std::deque<unsigned> urgent_;  // confirmations and duels
  std::deque<unsigned> queue_;   // the search
  Time send_at_{};               // not earlier: spacing
  unsigned confirmed_ = 0;       // 0: nothing yet
  bool started_ = false;
  bool settled_ = false;
  bool searching_ = false;
  bool fallen_ = false;           // this search follows a black hole
  unsigned floor_ = 0;            // the search looks at nothing smaller
  unsigned ceiling_ = 0;          // nor at this and larger ones
  std::vector<unsigned> wanted_;  // this round's, ascending
  unsigned tries_ = 0;
  std::optional<unsigned> hint_;
  Time try_ends_{};
  Time raise_at_{};
  Time confirm_at_{};
  Time busy_until_{};
  std::optional<Duel> duel_;
  std::uint64_t black_holes_ = 0;
};

}  // namespace oceanid::tunnel
