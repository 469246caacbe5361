// What one exit's probes say.

#include "tunnel/core/diagnosis.hpp"

#include <array>

#include <fmt/format.h>

namespace oceanid::tunnel {
namespace {

// REJECT_AFTER_TIME: a session older than this carries no packet, in either direction.
constexpr std::chrono::seconds session_lifetime{180};

using Exit = ExitFindings;

double milliseconds(Duration duration) {
  return static_cast<double>(duration.count()) / 1e6;
}

bool silent(const Exit& e) {
  return e.tunnel && !carries(e.path);
}

// Never anything but silence so far, and not for long enough to say more.
bool untried(const Exit& e) {
  return e.path == PathState::init && !e.silence && e.echoes == 0;
}

std::string blocked(const Exit& e) {
  std::string out = fmt::format("UDP {} blocked, TLS {} answers", e.udp_port, e.tls_port);
  if (e.on_tls) out += "; running on TLS since " + e.on_tls_since;
  return out;
}

struct Row {
  std::string_view code;
  bool (*applies)(const Exit&);
  std::string (*phrase)(const Exit&);
};

const std::array rows{
    Row{"admin_down", [](const Exit& e) { return e.state == HealthState::admin_down; },
        [](const Exit&) { return std::string("taken out by the operator"); }},
    Row{"device_missing", [](const Exit& e) { return !e.device; },
        [](const Exit& e) {
          if (!e.device_error.empty()) return e.device_error;
          return std::string(e.tunnel ? "the tunnel is not up yet"
                                      : "the interface does not exist");
        }},
    Row{"device_down", [](const Exit& e) { return !e.device_up; },
        [](const Exit&) { return std::string("the interface is down"); }},
    Row{"device_address", [](const Exit& e) { return !e.device_address; },
        [](const Exit&) { return std::string("the interface has no address"); }},

    // The tunnel is silent: why?
    Row{"endpoint_unresolved", [](const Exit& e) { return silent(e) && e.endpoint.empty(); },
        [](const Exit&) { return std::string("the endpoint has no address yet"); }},
    Row{"udp_blocked",
        [](const Exit& e) {
          return e.tunnel && e.udp_answers == false && e.tls_answers == true &&
                 (silent(e) || e.on_tls);
        },
        blocked},
    Row{"not_probed", [](const Exit& e) { return silent(e) && untried(e); },
        [](const Exit&) { return std::string("not probed yet"); }},
    Row{"one_way", [](const Exit& e) { return silent(e) && e.unheard; },
        [](const Exit& e) {
          return fmt::format("our packets do not reach {}, while its packets reach us", e.peer);
        }},
    Row{"no_handshake", [](const Exit& e) { return silent(e) && !e.handshake_age; },
        [](const Exit& e) {
          return fmt::format("no WireGuard handshake with {} yet", e.endpoint);
        }},
    Row{"handshake_old",
        [](const Exit& e) { return silent(e) && *e.handshake_age > session_lifetime; },
        [](const Exit& e) {
          return fmt::format("the last WireGuard handshake is {} s old", e.handshake_age->count());
        }},
    Row{"tunnel_silent", [](const Exit& e) { return silent(e); },
        [](const Exit& e) {
          if (!e.silence) return std::string("handshake done, but no echo through the tunnel");
          return fmt::format("no echo through the tunnel for {:.1f} s",
                             milliseconds(*e.silence) / 1e3);
        }},

    // The tunnel carries. What is beyond it?
    Row{"exit_uplink_down", [](const Exit& e) { return e.word && !e.word->serves; },
        [](const Exit&) {
          return std::string("tunnel fine, the exit says that its uplink is down");
        }},
    Row{"wrong_address", [](const Exit& e) { return e.exit_address == Verdict::bad; },
        [](const Exit& e) {
          return fmt::format("exit {} {}, expected {}",
                             e.by_its_word ? "says that it leaves with" : "leaves with",
                             e.seen_address, e.expected_address);
        }},
    Row{"no_internet", [](const Exit& e) { return e.canaries == Verdict::bad; },
        [](const Exit& e) {
          return fmt::format("{}, exit cannot reach the internet ({} of {} targets answer; {})",
                             e.tunnel ? "tunnel fine" : "interface up", e.canaries_good,
                             e.canaries_asked, e.canary_error);
        }},
    Row{"black_hole", [](const Exit& e) { return e.full_size == Verdict::bad; },
        [](const Exit& e) {
          if (e.path_mtu == 0) return std::string("path drops packets of full size");
          return fmt::format("path drops packets above {} bytes", e.path_mtu);
        }},
    Row{"unproven",
        [](const Exit& e) {
          return !usable(e.state) &&
                 (e.canaries == Verdict::pending || e.exit_address == Verdict::pending ||
                  e.full_size == Verdict::pending);
        },
        [](const Exit& e) {
          if (e.exit_address == Verdict::pending)
            return "waiting for the proof of its exit address" +
                   (e.address_error.empty() ? std::string() : " (" + e.address_error + ")");
          return std::string("waiting for the first answer of what lies beyond it");
        }},

    // It works; how well?
    Row{"suspect", [](const Exit& e) { return e.state == HealthState::suspect; },
        [](const Exit&) { return std::string("echoes are missing"); }},
    Row{"some_targets", [](const Exit& e) { return e.canaries == Verdict::partial; },
        [](const Exit& e) {
          return fmt::format("{} of {} targets answer through it; {}", e.canaries_good,
                             e.canaries_asked, e.canary_error);
        }},
    Row{"lossy", [](const Exit& e) { return e.state == HealthState::degraded && e.loss > 0.01; },
        [](const Exit& e) { return fmt::format("{:.0f} % of the echoes are lost", e.loss * 100); }},
    Row{"slow",
        [](const Exit& e) {
          return e.state == HealthState::degraded && e.rtt && e.baseline &&
                 *e.rtt > *e.baseline + std::chrono::milliseconds(30);
        },
        [](const Exit& e) {
          return fmt::format("a round trip takes {:.0f} ms, {:.0f} ms is usual",
                             milliseconds(*e.rtt), milliseconds(*e.baseline));
        }},
    Row{"on_tls", [](const Exit& e) { return e.on_tls; },
        [](const Exit& e) { return "running on TLS since " + e.on_tls_since; }},
    Row{"flapping", [](const Exit& e) { return e.state == HealthState::hold && e.suppressed; },
        [](const Exit&) {
          return std::string("it works, and failed too often lately to be relied on");
        }},
    Row{"held", [](const Exit& e) { return e.state == HealthState::hold; },
        [](const Exit&) { return std::string("it works again, and must stay so for a while"); }},
    Row{"recovering", [](const Exit& e) { return !usable(e.state); },
        [](const Exit&) { return std::string("it answers, and is being proven"); }},
    Row{"ok", [](const Exit&) { return true; },
        [](const Exit& e) {
          if (!e.tunnel) return std::string("the interface is up");
          if (!e.rtt) return std::string("echo through the tunnel");
          return fmt::format("echo through the tunnel in {:.1f} ms", milliseconds(*e.rtt));
        }},
};

}  // namespace

ExitEvidence evidence_of(const ExitFindings& exit) {
  ExitEvidence out;
  out.link = exit.device && exit.device_up && exit.device_address;
  out.path = exit.tunnel ? exit.path : PathState::up;
  out.loss = exit.loss;
  out.lost = exit.lost;
  out.rtt = exit.rtt;
  out.baseline = exit.baseline;
  out.stream_transport = exit.on_tls;
  out.full_size = exit.full_size;
  out.canaries = exit.canaries;
  out.serves = !exit.word || exit.word->serves;
  out.exit_address = exit.exit_address;
  return out;
}

Diagnosis diagnose(const ExitFindings& exit) {
  for (const Row& row : rows)
    if (row.applies(exit)) return {std::string(row.code), row.phrase(exit)};
  return {};
}

std::vector<std::string_view> exit_codes() {
  std::vector<std::string_view> out;
  for (const Row& row : rows)
    out.push_back(row.code);
  return out;
}

}  // namespace oceanid::tunnel
