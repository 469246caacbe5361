#pragma once
// When to turn to a peer's other key, on one device: the far side's view of a rotation, from what
// the device counts. Pure; any thread.
//
// The key that waits has no addresses and a preshared key that nobody has (DesiredDevice::waiting).
// WireGuard takes a handshake initiation before the preshared key has a say (Noise IKpsk2), counts
// its bytes and remembers where it came from; the session then fails at the initiator. So the
// counter tells that the peer speaks with that key now, which it does only after it has stopped
// using the other, and no packet of a new session can arrive before the addresses have moved.

#include "tunnel/core/key.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::tunnel {

class KeyTurn {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Verdict { stay, spoke, silent };

  // What is on its way when a peer turns, or arrives out of order, says nothing about a turn back.
  static constexpr std::chrono::seconds settle{5};
  // A peer that we dial and that has turned while we were away cannot tell us: its answers would
  // need the key that we do not use. So both are tried in turn.
  static constexpr std::chrono::seconds patience{10};

  // `waiting_rx`: bytes received from the key that waits; none: the device does not hold it (yet).
  // `silent_since`: of the key in force, on a device that dials; none: not judged by silence.
  Verdict observe(std::optional<std::uint64_t> waiting_rx, std::optional<Time> silent_since,
                  Time now);
  void turned(Time now);

 private:
  std::optional<std::uint64_t> baseline_;
  std::optional<Time> turned_at_;
};

// Which key of each peer was last in force, kept over restarts: lines of "NAME BASE64".
using KeyBook = std::map<std::string, PublicKey>;
inline constexpr std::size_t max_key_book = 4096;
KeyBook decode_key_book(std::string_view text);  // lines that are not understood are left out
std::string encode_key_book(const KeyBook& book);

}  // namespace oceanid::tunnel
