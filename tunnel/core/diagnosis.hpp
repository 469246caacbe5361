#pragma once
// From what all probes found to one sentence for a human and one stable code for machines. Pure:
// the first row of a table whose condition holds speaks, so the order of the tables is the order of
// importance, from the ground up: what lies deepest explains the rest.

#include "tunnel/core/health_exit.hpp"
#include "tunnel/core/probe_packet.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::tunnel {

struct Diagnosis {
  std::string code;      // stable; one of exit_codes() or node_codes()
  std::string sentence;  // of an exit: a phrase that fits into brackets behind its name
  bool operator==(const Diagnosis&) const = default;
};

// One exit, as its probes found it.
struct ExitFindings {
  std::string name;
  HealthState state = HealthState::init;
  Fall fall = Fall::none;
  bool suppressed = false;  // in hold: for its flaps

  // The device.
  bool tunnel = true;  // else an interface of the host
  bool device = true;  // it exists
  bool device_up = true;
  bool device_address = true;
  std::string device_error;  // why the tunnel's device cannot be had; empty: nothing wrong

  // The tunnel: echoes, WireGuard, and what answers beside it.
  std::string peer;  // its name; empty: not a tunnel
  PathState path = PathState::init;
  std::uint64_t echoes = 0;                           // asked so far
  std::optional<Duration> silence;                    // since the last answer; none: never one
  bool unheard = false;                               // the peer says that it does not hear us
  std::string endpoint;                               // empty: its name has no address yet
  std::optional<std::chrono::seconds> handshake_age;  // none: no handshake yet
  std::optional<bool> udp_answers;                    // outer probes; none: not asked
  std::optional<bool> tls_answers;
  std::uint16_t udp_port = 0;
  std::uint16_t tls_port = 0;
  bool on_tls = false;
  std::string on_tls_since;  // as it is to be shown

  // Quality.
  double loss = 0;
  std::uint64_t lost = 0;
  std::optional<Duration> rtt;
  std::optional<Duration> baseline;
  Verdict full_size = Verdict::none;
  unsigned path_mtu = 0;  // the largest that passes; 0: unknown

  // Beyond the exit.
  std::optional<ExitWord> word;  // what it says of itself; none: nothing
  Verdict canaries = Verdict::none;
  std::uint32_t canaries_good = 0;
  std::uint32_t canaries_asked = 0;
  std::string canary_error;  // of one that failed: "www.example.net:443: timeout"
  Verdict exit_address = Verdict::none;
  bool by_its_word = false;  // `seen_address` is what the exit says, not what the world saw
  std::string seen_address;
  std::string expected_address;
  std::string address_error;  // why it is not known
};

// A service that must work, through whichever exit carries the traffic.
struct TargetFinding {
  std::string target;
  std::string error;                    // empty: it answers
  std::optional<int> certificate_days;  // left, as last seen
};

struct NodeFindings {
  std::string routing_error;
  bool underlay_down = false;
  bool default_route = true;  // the underlay has one
  std::optional<std::chrono::seconds> clock_went_back;
  std::vector<ExitFindings> exits;  // in order of preference
  std::optional<std::size_t> current;
  std::vector<TargetFinding> targets;
};

// What the state machine takes of it.
ExitEvidence evidence_of(const ExitFindings& exit);

Diagnosis diagnose(const ExitFindings& exit);
Diagnosis diagnose(const NodeFindings& node);

// All codes, in the order of importance.
std::vector<std::string_view> exit_codes();
std::vector<std::string_view> node_codes();

inline constexpr int certificate_warning_days = 14;

}  // namespace oceanid::tunnel
