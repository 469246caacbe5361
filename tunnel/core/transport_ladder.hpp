#pragma once
// Which transport a tunnel takes. A small machine over three kinds of evidence: echoes that come
// back through the tunnel (the only proof), answers of the peer to probes by UDP outside of it, and
// TLS connections that stand. Time comes in as an argument; one owner, fixed memory.
//
//   Down the ladder: when no echo has come for `silence` and a lower rung has evidence, that one is
//   taken. A rung that has evidence of its own gets `trial` (something else may be wrong: the peer
//   restarted), then the others are tried too: a firewall may pass our probes and not WireGuard.
//   While nothing carries echoes the trials grow, so that a dead peer does not make us spin.
//
//   Up the ladder: a preferred rung whose probes have all been answered for `patience`, at least
//   `successes` of them, is taken back. When that turns out wrong within `settled`, the patience
//   doubles up to `longest_patience`; a return that lasts makes it short again. So neither
//   direction is final, and a link that flaps is not followed.

#include "tunnel/core/transport.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>

namespace oceanid::tunnel {

struct LadderPolicy {
  using Duration = std::chrono::nanoseconds;
  std::array<bool, transports> allowed{true, true, true, false};
  Duration silence = std::chrono::milliseconds(700);  // a TCP sender tries again 1.4 s after a cut
  Duration suspicion = std::chrono::milliseconds(400);  // then probes are fast and TLS is dialled
  Duration trial = std::chrono::seconds(3);
  unsigned successes = 10;
  Duration patience = std::chrono::seconds(60);
  Duration longest_patience = std::chrono::minutes(30);
  Duration settled = std::chrono::minutes(10);
  bool operator==(const LadderPolicy&) const = default;
};

class TransportLadder {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;
  using Duration = LadderPolicy::Duration;

  // What is to be done from now on.
  struct Orders {
    Transport use = Transport::udp;  // where WireGuard's packets go
    bool dial_tls = false;           // keep TLS connections to the peer
    bool dial_proxied = false;       // and those through the proxy
    Duration probe_every{0};         // by UDP outside the tunnel; 0: not at all
    bool operator==(const Orders&) const = default;
  };

  TransportLadder(const LadderPolicy& policy, Time now);

  void on_echo(Time at);                            // an answer came through the tunnel
  void on_answer(Transport rung, Time now);         // the peer answered a probe by UDP
  void on_link(Transport rung, bool up, Time now);  // TLS stands (first connection) or is gone

  Orders advance(Time now);

  Transport current() const { return current_; }
  Time since() const { return since_; }
  Duration patience() const { return patience_; }
  std::uint64_t moves() const { return moves_; }

 private:
  struct Evidence {
    std::optional<Time> last_answer;
    std::optional<Time> streak_since;  // answers without a hole since then
    unsigned streak = 0;
    bool link_up = false;
  };

  bool allowed(Transport rung) const { return policy_.allowed[index_of(rung)]; }
  bool has_evidence(Transport rung, Time now) const;
  Duration quiet(Time now) const;
  std::optional<Transport> preferred_again(Time now) const;
  std::optional<Transport> way_out(Time now);
  void move(Transport to, Time now);
  Duration probe_interval() const;
  bool returned_in_vain() const;
  Duration patience_with_current(Time now) const;
  void begin_streak(Evidence& evidence, Time now) const;
  void break_streaks(Time now);
  Orders orders(Time now) const;

  LadderPolicy policy_;
  Transport first_;
  Transport current_;
  Time since_;
  std::optional<Time> last_echo_;
  std::array<Evidence, transports> evidence_;
  std::array<bool, transports> tried_{};  // in vain since the last echo
  unsigned rounds_ = 0;                   // of trials since the last echo
  Duration patience_;
  std::optional<Time> returned_at_;           // up the ladder, not settled yet
  Transport returned_from_ = Transport::tls;  // with returned_at_
  std::uint64_t moves_ = 0;
};

}  // namespace oceanid::tunnel
