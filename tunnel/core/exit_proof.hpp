#pragma once
// What a dialled tunnel's own probes say of it: whether it may carry traffic, and why not. Only a
// round trip through the tunnel counts as proof: a fresh handshake says nothing about data
// (reference: handshake age 14 s while no byte of bulk was delivered). Pure; any thread.

#include "tunnel/core/diagnosis.hpp"
#include "tunnel/core/snapshot.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace oceanid::tunnel {

struct EchoResult {
  PathState state = PathState::init;
  std::optional<Duration> rtt;
  std::optional<Duration> baseline;
  std::optional<Duration> silence;  // since the last answer; none: never one
  std::uint64_t sent = 0;           // requests so far
  double loss = 0;                  // of the last regular ones
  std::uint64_t lost = 0;
  bool unheard = false;         // the peer says that it does not hear us
  bool full_size_lost = false;  // echoes as large as the MTU do not come back
  std::optional<ExitWord> word;
};

struct ExitProof {
  bool usable = false;
  std::string reason;
  bool operator==(const ExitProof&) const = default;
};

// The part of the findings that the tunnel knows. `peer`: none when the device does not exist (or
// does not know the peer).
ExitFindings tunnel_findings(const std::optional<PeerSnapshot>& peer, const EchoResult& echo,
                             std::chrono::system_clock::time_point now);
ExitProof judge(const ExitFindings& tunnel);

}  // namespace oceanid::tunnel
