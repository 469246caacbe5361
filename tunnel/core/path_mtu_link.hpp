#pragma once
// One end of the conversation in which two nodes measure the path between them: each probes its own
// direction, answers the other's probes and says what it found. Pure: datagrams in and out, time
// passed in; the socket is the edge's.
//
// The dialler begins with small questions until one is answered; the responder learns from a
// question that names its session that somebody is there who hears its answers, and from then on
// probes the way back. The path is what both directions carry. What that allows inside the tunnel
// is used as follows: less at once, more only when the other end uses it already (the responder
// goes first, the dialler waits a second at most), so that neither sends what the other's way back
// does not allow yet.
//
// An answer is never larger than its question, costs a bounded share of the line, and goes to
// nobody but those who have the key. A question that does not name our session may be a replay: it
// is answered, and nothing of what it says is believed.

#include "tunnel/core/path_mtu_search.hpp"
#include "tunnel/core/path_probe_packet.hpp"
#include "tunnel/core/replay_window.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>

namespace oceanid::tunnel {

inline constexpr unsigned contradicted_path = 1280;  // any path for IPv6 carries it (RFC 8200 §5)

class PathMtuLink {
 public:
  using Time = PathMtuSearch::Time;
  using Duration = PathMtuSearch::Duration;

  struct Settings {
    PathProbeRole role = PathProbeRole::dialler;
    Family outer = Family::v4;
    unsigned largest = default_path_mtu;        // of the egress link
    unsigned least_inner = smallest_inner_mtu;  // ipv6_inner_mtu where IPv6 is carried
    unsigned inner = 0;                         // in use until the path says another
    Duration raise = std::chrono::minutes(10);
  };
  struct Datagram {
    PathProbeBytes head;
    unsigned size = 0;         // of the IP packet; the rest behind the head is zero
    std::uint64_t number = 0;  // for on_refused()
  };
  struct Heard {
    std::optional<Datagram> answer;
    bool fresh = false;  // its sender is there now: where it came from is where it is
  };

  // `session`: random, not 0.
  PathMtuLink(const Settings& settings, PathProbeKey key, std::uint64_t session, Time now);

  std::optional<Datagram> next_question(Time now);  // call until none
  Time wake_at() const;
  Heard receive(std::span<const std::uint8_t> head, unsigned size, Time now);
  void on_refused(std::uint64_t number, Time now);
  // A router could not forward what begins with `quoted` (UDP content) for it is larger than `mtu`.
  void on_hint(std::span<const std::uint8_t> quoted, unsigned mtu, Time now);
  void on_traffic(Time now) { search_.on_traffic(now); }
  void on_suspicion(Time now) { search_.on_suspicion(now); }
  // Large packets do not pass inside the tunnel though probes of that size pass beside it:
  // something on the way treats the two differently. Both ends go down to `contradicted_path` for
  // `raise`, and for twice as long when it happens again, then try anew.
  void on_contradiction(Time now);
  bool contradicted() const { return trusted_from_.has_value(); }
  void on_network_change(unsigned largest, Time now);

  std::uint64_t recipient() const { return recipient_; }  // of the packets that are for us
  Family outer() const { return settings_.outer; }
  bool answered(Time now) const;             // the other end speaks this protocol, now
  std::optional<unsigned> path() const;      // both directions
  unsigned inner() const { return inner_; }  // what is to be in use inside the tunnel
  bool below_floor() const;                  // `inner` is more than the path carries
  const PathMtuSearch& search() const { return search_; }
  unsigned reported() const { return report_; }  // the other direction; 0: nothing yet

 private:
  struct Asked {
    std::uint64_t number;
    std::uint64_t probe;  // 0: a small question
  };

  unsigned smallest() const;
  Datagram make(PathProbeType type, unsigned size, Time now);
  bool take_budget(Time now);
  void believe(const PathProbePacket& packet, Time now);
  void take_answer(const PathProbePacket& packet, Time now);
  void settle(Time now);
  unsigned own_report() const;
  std::optional<unsigned> allowed() const;
  std::optional<std::uint64_t> probe_of(std::uint64_t number);
  bool news() const;

  Settings settings_;
  PathProbeKey key_;
  std::optional<Time> trusted_from_;  // until then the search's result is not believed
  Duration distrust_;                 // how long the next time
  std::uint64_t recipient_;
  std::uint64_t other_recipient_;
  PathMtuSearch search_;
  std::uint64_t session_;
  std::uint64_t their_session_ = 0;
  std::array<std::uint64_t, 8> former_{};  // sessions of theirs that are over
  std::size_t formers_ = 0;
  ReplayWindow window_;
  std::uint64_t number_ = 0;
  std::deque<Asked> asked_;
  unsigned report_ = 0;
  unsigned peer_applied_ = 0;
  unsigned inner_;
  std::optional<Time> raise_since_;
  unsigned raise_to_ = 0;
  Time ask_at_;
  Duration ask_pause_;
  std::optional<Time> last_answer_;
  unsigned told_report_ = 0;  // as last acknowledged by the other end
  unsigned told_applied_ = 0;
  std::uint64_t telling_ = 0;  // number of the question that carries the news
  unsigned telling_report_ = 0;
  unsigned telling_applied_ = 0;
  double budget_;
  Time budget_at_;
};

}  // namespace oceanid::tunnel
