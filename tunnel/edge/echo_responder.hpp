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
#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/echo_askers.hpp"
#include "tunnel/core/probe_packet.hpp"
#include "tunnel/core/rotation_message.hpp"

#include <cstdint>
#include <functional>
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
  // What this node says of itself as an exit, in every answer; none: it is no exit.
  void set_exit_word(const std::optional<ExitWord>& word) { word_ = word; }
  std::uint64_t answered() const { return answered_; }
  // Whether that peer hears our answers; none: it does not ask.
  std::optional<bool> hears_us(const IpAddress& peer) const;

  // When that peer last asked; none: never.
  std::optional<EchoAskers::Heard> last_heard(const IpAddress& peer) const;

  // Messages about keys share the port. `on_message` is told what a known peer says, and may answer
  // in the same size.
  using MessageHandler = std::function<std::optional<RotationMessage>(
      const std::string& device, const IpAddress& from, const RotationMessage& message)>;
  void set_on_message(MessageHandler on_message) { on_message_ = std::move(on_message); }
  // From the probe port through `device`; false when there is no socket or no room.
  bool send(const IfName& device, const SocketAddress& to, const RotationMessage& message);
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
  awaitable<void> tell_silent();
  awaitable<void> serve(std::shared_ptr<Socket> socket, std::string device);
  bool answer_one(int descriptor, const std::string& device);
  void hear(int descriptor, const std::string& device, const NativeAddress& from,
            const RotationMessage& message);

  asio::any_io_executor executor_;
  std::map<Place, std::shared_ptr<Socket>> sockets_;  // shared with the coroutine that serves it
  std::vector<IpAddress> peers_;                      // sorted
  EchoAskers askers_;
  std::optional<ExitWord> word_;
  bool telling_ = false;
  std::uint64_t answered_ = 0;
  MessageHandler on_message_;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
