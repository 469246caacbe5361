#include "routing/edge/netlink_listener.hpp"
#include "routing/edge/netlink_walk.hpp"

#include <cerrno>

#include <linux/netlink.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

constexpr std::size_t datagram_bytes = 32768;
constexpr int most_datagrams = 256;  // in one go; some hundred microseconds of reading

}  // namespace

NetlinkListener::NetlinkListener(const asio::any_io_executor& executor, UniqueFd socket)
    : descriptor_(executor, socket.release()), buffer_(datagram_bytes / sizeof(nlmsghdr)) {}

Result<NetlinkListener> NetlinkListener::open(const asio::any_io_executor& executor, int bus,
                                              std::span<const int> groups, int buffer) {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, bus));
  if (!socket) return fail_errno("opening a netlink socket");
  // FORCE needs CAP_NET_ADMIN; without it the host's limit holds.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) < 0)
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno("binding a netlink socket");
  for (const int group : groups)
    if (::setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
      return fail_errno("joining a netlink group");
  return NetlinkListener(executor, std::move(socket));
}

awaitable<bool> NetlinkListener::wait() {
  auto [ec] = co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
  co_return !ec;
}

NetlinkListener::Progress NetlinkListener::drain(const Visitor& visit, bool& overrun) {
  for (int datagrams = 0; datagrams < most_datagrams; ++datagrams) {
    const auto received = ::recv(descriptor_.native_handle(), buffer_.data(),
                                 buffer_.size() * sizeof(nlmsghdr), MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == ENOBUFS) {
      overrun = true;
      continue;
    }
    if (received <= 0) return Progress::empty;
    int left = static_cast<int>(received);
    const nlmsghdr* message = buffer_.data();
    for (; message_fits(message, left); message = mnl_nlmsg_next(message, &left))
      visit(*message);
  }
  return Progress::more;
}

}  // namespace oceanid::routing
