#pragma once
// Whether a dialled tunnel may carry traffic, and the phrase that says why. Only a round trip
// through the tunnel counts as proof: a fresh handshake says nothing about data (reference:
// handshake age 14 s while no byte of bulk was delivered). Pure; any thread.

#include "tunnel/core/echo_tracker.hpp"
#include "tunnel/core/snapshot.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace oceanid::tunnel {

struct EchoResult {
  EchoState state = EchoState::unknown;
  std::optional<std::chrono::nanoseconds> rtt;
  std::optional<std::chrono::nanoseconds> silence;  // since the last answer; none: never one
  std::uint64_t sent = 0;                           // requests so far
};

struct ExitProof {
  bool usable = false;
  std::string reason;
  bool operator==(const ExitProof&) const = default;
};

// `peer`: none when the device does not exist (or does not know the peer).
ExitProof judge(const std::optional<PeerSnapshot>& peer, const EchoResult& echo,
                std::chrono::system_clock::time_point now);

}  // namespace oceanid::tunnel
