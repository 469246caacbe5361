#include "tunnel/core/exit_proof.hpp"

namespace oceanid::tunnel {

ExitFindings tunnel_findings(const std::optional<PeerSnapshot>& peer, const EchoResult& echo,
                             std::chrono::system_clock::time_point now) {
  ExitFindings out;
  out.device = peer.has_value();
  out.path = echo.state;
  out.echoes = echo.sent;
  out.silence = echo.silence;
  out.unheard = echo.unheard;
  out.loss = echo.loss;
  out.lost = echo.lost;
  if (echo.full_size_lost) out.full_size = Verdict::bad;
  out.word = echo.word;
  out.rtt = echo.rtt;
  out.baseline = echo.baseline;
  if (!peer) return out;
  if (peer->endpoint) out.endpoint = peer->endpoint->to_string();
  if (peer->last_handshake)
    out.handshake_age = std::chrono::floor<std::chrono::seconds>(now - *peer->last_handshake);
  return out;
}

ExitProof judge(const ExitFindings& tunnel) {
  ExitFindings seen = tunnel;
  const bool proven = tunnel.device && carries(tunnel.path);
  seen.state = proven ? HealthState::up : HealthState::down;
  return {proven, diagnose(seen).sentence};
}

}  // namespace oceanid::tunnel
