#include "tunnel/core/exit_proof.hpp"

#include <fmt/format.h>

namespace oceanid::tunnel {
namespace {

// REJECT_AFTER_TIME: a session older than this carries no packet, in either direction.
constexpr std::chrono::seconds session_lifetime{180};

double in_milliseconds(std::chrono::nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e6;
}

std::string why_silent(const PeerSnapshot& peer, const EchoResult& echo,
                       std::chrono::system_clock::time_point now) {
  if (!peer.endpoint) return "the endpoint has no address yet";
  if (!peer.last_handshake)
    return "no WireGuard handshake with " + peer.endpoint->to_string() + " yet";
  const auto age = std::chrono::floor<std::chrono::seconds>(now - *peer.last_handshake);
  if (age > session_lifetime)
    return fmt::format("the last WireGuard handshake is {} s old", age.count());
  if (echo.silence)
    return fmt::format("no echo through the tunnel for {:.1f} s",
                       in_milliseconds(*echo.silence) / 1e3);
  return "handshake done, but no echo through the tunnel";
}

}  // namespace

ExitProof judge(const std::optional<PeerSnapshot>& peer, const EchoResult& echo,
                std::chrono::system_clock::time_point now) {
  if (!peer) return {false, "the tunnel's interface is missing"};
  switch (echo.state) {
    case EchoState::up:
      if (echo.rtt)
        return {true,
                fmt::format("echo through the tunnel in {:.1f} ms", in_milliseconds(*echo.rtt))};
      return {true, "echo through the tunnel"};
    case EchoState::down:
      return {false, why_silent(*peer, echo, now)};
    case EchoState::unknown:
      break;
  }
  if (peer->endpoint && echo.sent == 0) return {false, "not probed yet"};
  return {false, why_silent(*peer, echo, now)};
}

}  // namespace oceanid::tunnel
