#pragma once
// Answers echo requests that come through our tunnels: one UDP socket for each of the node's own
// tunnel addresses on the probe port. An answer has the size of the question (no amplification),
// goes back by the interface on which the question came, and is given only to a known peer's tunnel
// address that arrived on an oc- interface, which WireGuard has authenticated. Keeps no state for
// anybody.
//
// Needs a route to the peer on each oc- interface (`oif` rules); IPv4 manages without.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/task_group.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/udp.hpp>

namespace oceanid::tunnel {

class EchoResponder {
 public:
  explicit EchoResponder(const asio::any_io_executor& executor);

  // Opens and closes sockets to match; `peers`: who gets an answer. On an error the others still
  // work.
  Result<void> configure(const std::vector<IpAddress>& own, std::uint16_t port,
                         std::vector<IpAddress> peers);
  std::uint64_t answered() const { return answered_; }
  awaitable<void> stop();

 private:
  using Socket = asio::ip::udp::socket;
  awaitable<void> serve(std::shared_ptr<Socket> socket);
  bool answer_one(int descriptor);
  bool may_ask(const IpAddress& source, unsigned interface_index) const;

  asio::any_io_executor executor_;
  std::map<SocketAddress, std::shared_ptr<Socket>>
      sockets_;                   // shared with the coroutine that serves it
  std::vector<IpAddress> peers_;  // sorted
  std::uint64_t answered_ = 0;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
