#pragma once
// Is the other end of one tunnel there? A small machine over echo requests and answers; time comes
// in as an argument, nothing in here waits. One owner, one thread, fixed memory.
//
//              reply                                 reply
//   unknown ───────────► up ──────────────────────► (up)
//      │                 ▲ │  ≥ down_after requests since the last answered one
//      │ same condition  │ │  and nothing heard for down_after × interval
//      └───────► down ───┘ ▼
//                 ▲        │
//                 └────────┘
// Both conditions, because a process that was itself stopped for a while has heard nothing either,
// but has asked nothing meanwhile: that is no proof against the tunnel.

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace oceanid::tunnel {

enum class EchoState : std::uint8_t { unknown, up, down };
constexpr std::string_view to_string(EchoState state) {
  switch (state) {
    case EchoState::unknown:
      return "unknown";
    case EchoState::up:
      return "up";
    case EchoState::down:
      return "down";
  }
  return "unknown";
}

class EchoTracker {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = std::chrono::nanoseconds;

  EchoTracker(Duration interval, std::uint32_t down_after);

  void on_sent(std::uint64_t nonce, Time now);
  // False: not an answer to one of our last requests, or its second copy; nothing changes.
  bool on_reply(std::uint64_t nonce, Time now);
  // Judges the silence. Call at least once an interval, before on_sent.
  EchoState check(Time now);
  // When check() can come to "down" at the earliest, if nothing is heard; none while it cannot.
  std::optional<Time> verdict_at() const;

  EchoState state() const { return state_; }
  std::optional<Duration> rtt() const { return smoothed_; }  // smoothed as in RFC 6298, gain 1/8
  std::optional<Time> last_reply() const { return last_reply_; }
  std::optional<Time> since() const { return since_; }      // when the present state began
  std::uint32_t unanswered() const { return unanswered_; }  // requests since the last answered one
  std::uint32_t answered_in_row() const { return in_row_; }
  std::uint64_t sent_total() const { return sent_total_; }
  std::uint64_t answered_total() const { return answered_total_; }

 private:
  struct Request {
    std::uint64_t nonce = 0;
    std::uint64_t number = 0;  // sent_total_ when it went out; 0: free or answered
    Time sent{};
  };
  static constexpr std::size_t remembered =
      32;  // 6.4 s at the default pace; later answers are no news

  void enter(EchoState state, Time now);

  Duration interval_;
  std::uint32_t down_after_;
  std::array<Request, remembered> requests_{};
  EchoState state_ = EchoState::unknown;
  std::optional<Time> since_;
  std::optional<Time> first_unanswered_;  // when the present silence began to be measured
  std::optional<Time> last_reply_;
  std::optional<Duration> smoothed_;
  std::uint32_t unanswered_ = 0;
  std::uint32_t in_row_ = 0;
  std::uint64_t newest_answered_ = 0;
  std::uint64_t sent_total_ = 0;
  std::uint64_t answered_total_ = 0;
};

}  // namespace oceanid::tunnel
