#pragma once
// What the transport process cannot do itself and asks netd for: sockets that carry the underlay's
// mark (SO_MARK takes CAP_NET_ADMIN) or buffers beyond the system's limit. They come connected, or
// connecting, so that where a marked packet may go stays netd's decision.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/core/transport.hpp"

#include <cstdint>
#include <string>

namespace oceanid::tunnel {

enum class SocketPurpose : std::uint8_t {
  tls,      // TCP to the peer's TLS endpoint
  proxied,  // TCP to the HTTP proxy on the way there
  udp,      // UDP to the peer's WireGuard port
  udp_443,  // UDP to its port 443
  session,  // UDP on loopback, connected to our own WireGuard
};

class TransportHost {
 public:
  TransportHost() = default;
  TransportHost(const TransportHost&) = delete;
  TransportHost& operator=(const TransportHost&) = delete;
  virtual ~TransportHost() = default;

  virtual awaitable<Result<UniqueFd>> socket(SocketPurpose purpose, std::string peer) = 0;
  // Of a peer that we dial: connections that stand, by rung; an answer by UDP; what is in the way.
  virtual void on_links(const std::string& peer, Transport rung, std::size_t links) = 0;
  virtual void on_answer(const std::string& peer, Transport rung) = 0;
  virtual void on_trouble(const std::string& peer, Transport rung, const std::string& why) = 0;
};

}  // namespace oceanid::tunnel
