#pragma once
// The state of one exit, from what its probes found. Pure; time comes in as an argument.
//
//   admin_down   the operator took it out
//   init         not proven yet
//   up           proven end to end
//   degraded     usable, of lower rank: loss, a long round trip, some targets, TCP as transport, or
//                full-size packets that do not pass (then `impaired`, the last resort)
//   suspect      echoes are missing; three extra ones are under way
//   down         carries no traffic: proven dead, leads nowhere, or leaves with another address
//   hold         proven again after a fall, and waits for `hold` and the damping of flaps; used
//                when nothing better is there
//
//   init ──► up ◄──► degraded        any ──► down ──► hold ──► up | degraded
//             └── suspect ──┘
//
// An underlay fault is nobody's fall: no penalty, no wait (health_board.hpp).

#include "tunnel/core/health_damping.hpp"
#include "tunnel/core/health_path.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace oceanid::tunnel {

enum class HealthState : std::uint8_t { admin_down, init, up, degraded, suspect, down, hold };
inline constexpr HealthState health_states[] = {
    HealthState::admin_down, HealthState::init, HealthState::up,  HealthState::degraded,
    HealthState::suspect,    HealthState::down, HealthState::hold};
std::string_view to_string(HealthState state);
// Whether traffic may leave by an exit in this state.
constexpr bool usable(HealthState state) {
  return state == HealthState::up || state == HealthState::degraded ||
         state == HealthState::suspect || state == HealthState::hold;
}

// What a probe of some kind says in sum. `none`: nobody asks; `pending`: asked, not known yet.
enum class Verdict : std::uint8_t { none, pending, good, partial, bad };

// All that is known about an exit at one moment.
struct ExitEvidence {
  bool enabled = true;
  bool link = true;                  // the device exists, is up and has its addresses
  PathState path = PathState::init;  // an exit without a tunnel: as its link is
  double loss = 0;                   // of the last echoes
  std::uint64_t lost = 0;
  std::optional<Duration> rtt;
  std::optional<Duration> baseline;
  bool stream_transport = false;         // WireGuard's packets travel in TCP
  Verdict full_size = Verdict::none;     // echoes of the tunnel's own MTU
  Verdict canaries = Verdict::none;      // targets beyond the exit; bad: no quorum
  Verdict exit_address = Verdict::none;  // what the world sees; bad: not what it must be
  bool serves = true;                    // false: it says itself that its uplink is down
};

enum class Fall : std::uint8_t { none, link, echo, exit_uplink, canaries, exit_address };
std::string_view to_string(Fall fall);

class ExitHealth {
 public:
  explicit ExitHealth(Duration hold) : hold_(hold) {}

  void set_hold(Duration hold, bool damping = true) {
    hold_ = hold;
    damping_on_ = damping;
  }
  HealthState update(const ExitEvidence& evidence, TimePoint now);
  // The last fall was the underlay's: forgotten, and the return needs no wait.
  void forgive(TimePoint now);
  // When update() would come to something else with the same evidence; none: never.
  std::optional<TimePoint> next_change() const;

  HealthState state() const { return state_; }
  TimePoint since() const { return since_; }
  Fall fall() const { return fall_; }          // why it is down
  bool impaired() const { return impaired_; }  // data-size packets do not pass
  std::optional<TimePoint> fell_at() const { return fell_at_; }
  double penalty(TimePoint now) const { return damping_.penalty(now); }
  bool suppressed(TimePoint now) { return damping_on_ && damping_.suppressed(now); }

 private:
  void enter(HealthState state, TimePoint now);
  bool degraded(const ExitEvidence& evidence, TimePoint now);
  HealthState working(const ExitEvidence& evidence, TimePoint now);

  Duration hold_;
  HealthState state_ = HealthState::init;
  TimePoint since_{};
  Fall fall_ = Fall::none;
  std::optional<TimePoint> fell_at_;
  std::optional<TimePoint> calm_since_;  // no reason to be degraded since then
  bool degraded_ = false;
  bool impaired_ = false;
  bool forgiven_ = false;
  bool damping_on_ = true;
  FlapDamping damping_;
};

}  // namespace oceanid::tunnel
