#pragma once
// Does one tunnel carry packets both ways? Judged by echoes, asked every `interval`; time comes in
// as an argument. One owner, one thread, fixed memory.
//
//            5 answers in a row                 silence of 1.5 intervals
//   init ──────────────────────► up ───────────────────────────────────► suspect
//     │                          ▲ ◄─────────────────────────────────────── │
//     │ same condition           │                 any answer               │ dead
//     └──────────► down ─────────┘                                          │
//                   ▲    10 answers in a row                                │
//                   └───────────────────────────────────────────────────────┘
// suspect: three extra echoes 50 ms apart tell a lost packet from a dead path. Dead is: at least
// `down_after` regular echoes unanswered and nothing heard for `down_after` intervals, and
// phi-accrual (a jittery or lossy path is given what it usually needs) and the extra echoes agree;
// or a silence of `longest_silence`. In init and down, echoes follow each answer after 50 ms, so
// that proof takes moments. A process that was itself stopped has heard nothing either: after such
// a gap the silence counts anew.

#include "tunnel/core/health_window.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace oceanid::tunnel {

enum class PathState : std::uint8_t { init, up, suspect, down };
std::string_view to_string(PathState state);
constexpr bool carries(PathState state) {
  return state == PathState::up || state == PathState::suspect;
}

class PathHealth {
 public:
  using Time = TimePoint;

  PathHealth(Duration interval, std::uint32_t down_after);

  // ---- asking ----
  Time next_request(Time now) const;  // when the next echo is due; not after now: ask
  void on_sent(std::uint64_t nonce, Time now);
  // False: not an answer to one of our last requests, or its second copy; nothing changes.
  bool on_reply(std::uint64_t nonce, Time now);
  // The peer says that it no longer hears our requests: our way to it is broken, not its way to us.
  void on_unheard(Time now) { unheard_at_ = now; }

  // ---- judging ----
  // Judges the silence. Call when next_check() has come, and before on_sent.
  PathState check(Time now);
  std::optional<Time> next_check() const;  // none: silence alone changes nothing now

  PathState state() const { return state_; }
  std::optional<Time> since() const { return since_; }  // when the present state began
  std::optional<Time> last_reply() const { return last_reply_; }
  std::optional<Duration> rtt() const { return trips_.smoothed(); }
  std::optional<Duration> baseline() const { return trips_.baseline(); }
  const LossWindow& losses() const { return losses_; }  // of regular echoes, about ten seconds
  double phi(Time now) const { return arrivals_.phi(silence(now), interval_); }
  bool hears_peer(Time now) const;  // what our requests tell the peer ("I hear you")
  bool unheard(Time now) const;     // the peer said lately that it does not hear us
  std::uint32_t answered_in_row() const { return in_row_; }
  std::uint64_t sent_total() const { return sent_; }
  std::uint64_t answered_total() const { return answered_; }

 private:
  struct Request {
    std::uint64_t nonce = 0;
    std::uint64_t number = 0;   // sent_ when it went out; 0: free
    std::uint64_t regular = 0;  // regular_ when it went out
    Time sent{};
    bool is_regular = false;
    bool answered = false;
  };
  static constexpr std::size_t remembered = 64;

  void enter(PathState state, Time now);
  void give_up_lost(Time now);
  void resolve(const Request& request, bool lost);
  void note_pause(Time now);
  Time quiet_since() const;
  Duration silence(Time now) const { return now - quiet_since(); }
  Duration patience() const;  // how long an answer may take
  std::optional<Time> dead_at() const;

  Duration interval_;
  Duration pace_;  // of extra echoes
  std::uint32_t down_after_;
  std::array<Request, remembered> requests_{};
  ArrivalWindow arrivals_;
  LossWindow losses_;
  RoundTrips trips_;
  PathState state_ = PathState::init;
  std::optional<Time> since_;
  std::optional<Time> last_check_;
  std::optional<Time> first_unanswered_;  // when the present silence began to be measured
  std::optional<Time> last_reply_;
  std::optional<Time> last_regular_reply_;
  std::optional<Time> last_sent_;
  std::optional<Time> unheard_at_;
  std::optional<Time> listening_since_;  // after a pause of our own
  Time regular_due_ = Time::min();
  std::uint32_t extra_left_ = 0;
  std::uint32_t in_row_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t regular_ = 0;
  std::uint64_t answered_ = 0;
  std::uint64_t newest_answered_ = 0;
  std::uint64_t newest_regular_ = 0;  // regular_ as of the newest answered request
  std::uint64_t resolved_ = 0;        // requests up to this number are answered or given up
  bool forgiven_ = false;             // a pause, in this silence
};

}  // namespace oceanid::tunnel
