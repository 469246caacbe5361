#pragma once
// A UDP socket for probes of the outer path. IP_PMTUDISC_PROBE: DF on every packet, and what the
// kernel believes about the path is ignored, since that is what is to be found out. IP_RECVERR: a
// Packet Too Big comes with the packet that it quotes. Carries the tunnels' mark, so that a probe
// takes the way of WireGuard's own packets. Never blocks.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "tunnel/core/path_mtu_link.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include <boost/asio/ip/udp.hpp>

namespace oceanid::tunnel {

class PathSocket {
 public:
  struct Packet {
    PathProbeBytes head;
    std::size_t head_size = 0;
    unsigned size = 0;  // of the whole IP packet
    SocketAddress from;
    IpAddress to;                  // our address that it came to
    std::optional<unsigned> hint;  // a router's quotation of one of ours; then no `from`
  };
  enum class Sent : std::uint8_t { yes, too_large, lost };

  explicit PathSocket(const asio::any_io_executor& executor) : socket_(executor) {}

  Result<void> open(Family family, const Mark& mark);
  Result<void> bind(std::uint16_t port);  // on all addresses, beside the echo's
  Result<void> connect(const SocketAddress& to);
  void close();
  bool is_open() const { return socket_.is_open(); }

  // `to` and `from`: none on a connected socket.
  Sent send(const PathMtuLink::Datagram& datagram, const std::optional<SocketAddress>& to = {},
            const std::optional<IpAddress>& from = {});
  std::optional<Packet> receive();  // none: nothing (more) there
  awaitable<void> readable();
  std::optional<IpAddress> local();  // of a connected socket

 private:
  std::optional<Packet> receive_error();
  std::optional<Packet> receive_from(bool errors);

  asio::ip::udp::socket socket_;
  Family family_ = Family::v4;
};

struct OwnLink {
  std::string name;
  unsigned mtu = 0;
};
// The link that has the address; none: no link has it.
std::optional<OwnLink> link_with(const IpAddress& address);
std::optional<unsigned> mtu_of_link_with(const IpAddress& address);

}  // namespace oceanid::tunnel
