#pragma once
// A change of this node's own key, from the key that lies ready to the key that is in force: what
// to do next, out of the peers' answers and the time. Pure; any thread.
//
//   none ──prepared──► waiting ──every peer ready, or forced──► announced ──► turned ──► none
//                         ▲                                                      │
//                         └───────── a peer that was ready does not come back ◄──┘
//
// Nobody coordinates: each peer is asked inside the tunnel whether it knows the next key; all
// devices turn at once when all do; whoever does not come back with the new key within
// `return_time` makes everybody go back. The former key is kept on disk as long as that may happen
// and WireGuard's last session with it may live (REJECT_AFTER_TIME, 180 s).

#include "tunnel/core/key.hpp"
#include "tunnel/core/rotation_message.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::tunnel {

class Rotation {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Phase { none, waiting, announced, turned };
  enum class PeerState { silent, unknown, ready, turned };  // as the peer has answered last
  enum class Step {
    nothing,
    ask,       // send `ask` with key() to every peer
    announce,  // send `turning` to every peer, with the key still in force
    turn,      // promote the next key on disk, give it to all devices
    go_back,   // the former key again, on disk and on the devices
    forget,    // remove the former key from disk
  };

  static constexpr std::chrono::seconds ask_interval{2};
  static constexpr std::chrono::seconds answer_life{10};  // an answer counts so long
  // The announcement leaves the machine with the old key, then the key is changed.
  static constexpr std::chrono::milliseconds notice{50};
  static constexpr std::chrono::milliseconds urge_interval{250};  // right after the turn
  static constexpr std::chrono::seconds return_time{30};
  static constexpr std::chrono::seconds former_life{180};

  // A next key lies ready; `peers`: all that are configured, to whom it must be known.
  void prepare(const PublicKey& next, std::vector<std::string> peers);
  void set_peers(std::vector<std::string> peers);
  void abandon();  // the next key is gone from disk
  void force() { forced_ = true; }
  void release() { held_.clear(); }  // the operator asks again after a turn back
  // A former key lies on disk, from before a restart.
  void found_former(Time now);

  // An answer of a peer; about another key it says nothing.
  void on_answer(const std::string& peer, const RotationMessage& message, Time now);

  // What is to be done now; the caller does it and says so by done(). At most one step is due.
  Step due(Time now) const;
  // `ok`: the step was carried out; a turn or a way back that failed is tried again by the
  // operator.
  void done(Step step, bool ok, Time now);

  // How long due() need not be asked again.
  Time::duration patience(Time now) const;

  Phase phase() const { return phase_; }
  const std::optional<PublicKey>& key() const { return key_; }
  bool forced() const { return forced_; }
  bool keeps_former() const { return former_since_.has_value(); }
  const std::string& held() const { return held_; }  // why it does not go on; empty: it does
  struct Peer {
    std::string name;
    PeerState state = PeerState::silent;
  };
  std::vector<Peer> peers(Time now) const;

 private:
  struct Known {
    std::string name;
    PeerState state = PeerState::silent;
    Time answered_at{};
    bool expected = false;  // it was ready when we turned
  };
  PeerState state_of(const Known& peer, Time now) const;
  bool all_ready(Time now) const;
  bool all_back() const;
  std::optional<Time::duration> ask_pause(Time now) const;
  std::string missing() const;

  Phase phase_ = Phase::none;
  std::optional<PublicKey> key_;  // the next one; after the turn the one in force
  std::vector<Known> peers_;
  bool forced_ = false;
  std::string held_;
  std::optional<Time> asked_at_;
  Time phase_since_{};
  std::optional<Time> former_since_;
};

const char* to_string(Rotation::Phase phase);
const char* to_string(Rotation::PeerState state);

}  // namespace oceanid::tunnel
