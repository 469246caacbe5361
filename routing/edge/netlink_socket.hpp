#pragma once
// One netlink socket for question and answer, synchronous: the kernel answers inside the send.
// Errors carry errno and, where the kernel gives one, its own sentence (extended acknowledgement).

#include "gateway/base/error.hpp"
#include "routing/edge/netlink_message.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <libmnl/libmnl.h>

namespace oceanid::routing {

class NetlinkSocket {
 public:
  using Visitor = std::function<void(const nlmsghdr&)>;  // the message is gone afterwards

  static Result<NetlinkSocket> open(int bus);  // NETLINK_ROUTE, NETLINK_NETFILTER

  // Waits for the acknowledgement; `visit` sees what comes before it.
  Result<void> request(Message message, const Visitor& visit = {});
  // Several requests in one datagram, carried out in their order; a refused one does not keep the
  // kernel from those behind it (netlink_rcv_skb). One answer for each, found by its number.
  std::vector<Result<void>> requests(std::span<Message> messages);
  // `start` is called before the first answer, and again when a change interrupted the dump.
  Result<void> dump(Message message, const std::function<void()>& start, const Visitor& visit);
  // A batch of nfnetlink, whose messages carry the numbers `first` to `last` and one behind it (end
  // of batch): all of it is one transaction, carried out inside the send. Well when the message
  // `last` is acknowledged and no other one refused.
  Result<void> batch(std::span<const std::uint8_t> bytes, std::uint32_t first, std::uint32_t last);
  std::uint32_t next_sequence() const { return sequence_ + 1; }
  std::uint32_t port_id() const { return mnl_socket_get_portid(socket_.get()); }

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  enum class Progress : std::uint8_t { more, done, interrupted };

  explicit NetlinkSocket(mnl_socket* socket);
  Result<Progress> exchange(Message& message, const Visitor& visit);
  void collect(std::uint32_t first, std::span<Result<void>> answers);
  Result<Progress> take(const nlmsghdr& message, const Visitor& visit) const;

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::vector<nlmsghdr> buffer_;  // as many as fill 32 KiB: aligned space for one datagram
  std::uint32_t sequence_ = 0;
};

}  // namespace oceanid::routing
