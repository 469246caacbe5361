#pragma once
// Answers echo requests that come through our tunnels: one UDP socket for each of the node's own
// tunnel addresses on each device, bound to both. So only what WireGuard has authenticated is
// heard, and an answer goes back by the tunnel of the question (IPV6_PKTINFO is not enough: with a
// source address given, IPv6 takes its interface as a hint only and prefers the route with the
// better metric). An answer has the size of the question (no amplification) and goes to known
// peers' tunnel addresses alone. Of those who ask it remembers when they last did, and tells them
// when they are no longer heard (echo_askers.hpp). IPv6 needs a route to the peer on each
// device; IPv4 manages without.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/echo_askers.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ip/udp.hpp>

namespace oceanid::tunnel {

class EchoResponder {
 public:
  explicit EchoResponder(const asio::any_io_executor& executor);

  // Opens and closes sockets to match; call it again whenever a device may have been replaced.
  // `peers`: who gets an answer. On an error the others still work.
  Result<void> configure(const std::vector<IfName>& devices, const std::vector<IpAddress>& own,
                         std::uint16_t port, std::vector<IpAddress> peers);
  std::uint64_t answered() const { return answered_; }
  // Whether that peer hears our answers; none: it does not ask.
  std::optional<bool> hears_us(const IpAddress& peer) const;
  awaitable<void> stop();

 private:
  using Socket = asio::ip::udp::socket;
  struct Place {
    std::string device;
    unsigned index = 0;  // of the device: a new one of the same name is another place
    SocketAddress local;
    auto operator<=>(const Place&) const = default;
  };
  Result<std::shared_ptr<Socket>> open(const Place& place);
  awaitable<void> serve(std::shared_ptr<Socket> socket);
  bool answer_one(int descriptor);
  awaitable<void> tell_silent();

  asio::any_io_executor executor_;
  std::map<Place, std::shared_ptr<Socket>> sockets_;  // shared with the coroutine that serves it
  std::vector<IpAddress> peers_;                      // sorted
  EchoAskers askers_;
  bool telling_ = false;
  std::uint64_t answered_ = 0;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
