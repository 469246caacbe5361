#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/edge/facts_watcher.hpp"

#include <array>
#include <cstring>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <libmnl/libmnl.h>

#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

constexpr int receive_buffer =
    1 << 20;  // some thousand notices: a BGP daemon's burst overruns it, that is a resync
constexpr std::size_t datagram_bytes = 32768;

constexpr std::array groups{RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                            RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
                            RTNLGRP_IPV6_RULE};

void note(std::uint16_t type, FactsChange& change) {
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      change.links = true;
      break;
    case RTM_NEWADDR:
    case RTM_DELADDR:
      change.addresses = true;
      break;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      change.routes = true;
      break;
    case RTM_NEWRULE:
    case RTM_DELRULE:
      change.rules = true;
      break;
    default:
      break;
  }
}

Result<UniqueFd> open_socket() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  if (!socket) return fail_errno("opening a netlink socket");
  // FORCE needs CAP_NET_ADMIN; without it the host's limit holds.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_buffer,
                   sizeof(receive_buffer)) < 0)
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0)
    return fail_errno("binding a netlink socket");
  for (const int group : groups)
    if (::setsockopt(socket.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
      return fail_errno("joining a netlink group");
  return socket;
}

}  // namespace

struct FactsWatcher::Socket {
  Socket(const asio::any_io_executor& executor, UniqueFd fd)
      : descriptor(executor, fd.release()), buffer(datagram_bytes / sizeof(nlmsghdr)) {}
  asio::posix::stream_descriptor descriptor;
  std::vector<nlmsghdr> buffer;  // aligned space for one datagram
};

FactsWatcher::FactsWatcher(const asio::any_io_executor& executor, std::unique_ptr<Socket> socket,
                           Callback callback, std::uint32_t own_port)
    : socket_(std::move(socket)),
      callback_(std::move(callback)),
      own_port_(own_port),
      tasks_(executor) {}

FactsWatcher::~FactsWatcher() = default;

Result<std::unique_ptr<FactsWatcher>> FactsWatcher::start(const asio::any_io_executor& executor,
                                                          Callback callback,
                                                          std::uint32_t own_port) {
  auto fd = open_socket();
  if (!fd) return std::unexpected(std::move(fd.error()));
  auto socket = std::make_unique<Socket>(executor, std::move(*fd));
  std::unique_ptr<FactsWatcher> out(
      new FactsWatcher(executor, std::move(socket), std::move(callback), own_port));
  out->tasks_.spawn("network facts", out->watch());
  return out;
}

awaitable<void> FactsWatcher::stop() {
  co_await tasks_.stop();
}

awaitable<void> FactsWatcher::watch() {
  while (true) {
    auto [ec] = co_await socket_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                                        as_result);
    if (ec) co_return;
    FactsChange change;
    drain(change);
    if (!change.any()) continue;
    // Counted from the first notice, so that a host that never rests is still heard 20 times a
    // second.
    if (const auto stopped = co_await sleep_for(debounce)) co_return;
    drain(change);
    callback_(change);
  }
}

void FactsWatcher::drain(FactsChange& change) {
  const int fd = socket_->descriptor.native_handle();
  while (true) {
    const auto received =
        ::recv(fd, socket_->buffer.data(), socket_->buffer.size() * sizeof(nlmsghdr), MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == ENOBUFS) {
      change.resync = true;
      continue;
    }
    if (received <= 0) return;
    int left = static_cast<int>(received);
    const nlmsghdr* message = socket_->buffer.data();
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      if (own_port_ == 0 || message->nlmsg_pid != own_port_) note(message->nlmsg_type, change);
  }
}

}  // namespace oceanid::routing
