#pragma once
// One netlink socket for request and answer, synchronous: the kernel answers inside the send. Dumps
// that another change interrupted are repeated.

#include "gateway/base/error.hpp"
#include "routing/edge/netlink_message.hpp"

#include <cstdint>
#include <functional>
#include <memory>

#include <libmnl/libmnl.h>

namespace oceanid::routing {

class NetlinkSocket {
 public:
  using Visitor = std::function<void(const nlmsghdr&)>;

  static Result<NetlinkSocket> open(int bus);  // NETLINK_ROUTE, NETLINK_NETFILTER

  Result<void> request(Message& message);  // waits for the acknowledgement
  // Every answer is shown to `visit`; `restart` is called before a repeated dump.
  Result<void> dump(Message& message, const Visitor& visit, const std::function<void()>& restart);
  Result<void> query(Message& message, const Visitor& visit);  // one answer
  std::uint32_t port_id() const { return mnl_socket_get_portid(socket_.get()); }

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  explicit NetlinkSocket(mnl_socket* socket) : socket_(socket) {}
  Result<void> send(Message& message);
  Result<int> receive(std::uint32_t sequence, const Visitor& visit);

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::uint32_t sequence_ = 0;
};

}  // namespace oceanid::routing
