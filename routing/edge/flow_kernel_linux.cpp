#include "routing/core/reset_segment.hpp"
#include "routing/edge/conntrack_codec.hpp"
#include "routing/edge/flow_kernel.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::routing {
namespace {

// IPPROTO_RAW: we bring the IP header, and nothing is ever received.
UniqueFd open_raw(int family) {
  return UniqueFd(::socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
}

}  // namespace

LinuxFlowKernel::LinuxFlowKernel(UniqueFd raw4, UniqueFd raw6, NetlinkSocket netfilter)
    : raw4_(std::move(raw4)), raw6_(std::move(raw6)), netfilter_(std::move(netfilter)) {}

Result<std::unique_ptr<LinuxFlowKernel>> LinuxFlowKernel::open() {
  UniqueFd raw4 = open_raw(AF_INET);
  if (!raw4) return fail_errno("opening a raw socket");
  UniqueFd raw6 = open_raw(AF_INET6);
  if (!raw6 && errno != EAFNOSUPPORT) return fail_errno("opening a raw socket for IPv6");
  auto netfilter = NetlinkSocket::open(NETLINK_NETFILTER);
  if (!netfilter) return std::unexpected(std::move(netfilter.error()));
  return std::unique_ptr<LinuxFlowKernel>(
      new LinuxFlowKernel(std::move(raw4), std::move(raw6), std::move(*netfilter)));
}

Result<void> LinuxFlowKernel::wake(const FlowTuple& tuple) {
  const auto segment = waking_segment(tuple, static_cast<std::uint32_t>(random_()));
  sockaddr_storage to{};
  socklen_t size = 0;
  const bool four = tuple.family() == Family::v4;
  if (four) {
    auto& address = reinterpret_cast<sockaddr_in&>(to);
    address.sin_family = AF_INET;
    std::ranges::copy(tuple.source.bytes(), reinterpret_cast<std::uint8_t*>(&address.sin_addr));
    size = sizeof address;
  } else {
    auto& address = reinterpret_cast<sockaddr_in6&>(to);
    address.sin6_family = AF_INET6;
    std::ranges::copy(tuple.source.bytes(), reinterpret_cast<std::uint8_t*>(&address.sin6_addr));
    size = sizeof address;
  }
  const int fd = four ? raw4_.get() : raw6_.get();
  if (::sendto(fd, segment.data(), segment.size(), 0, reinterpret_cast<const sockaddr*>(&to),
               size) < 0)
    return fail_errno("waking " + tuple.source.to_string());
  return {};
}

Result<void> LinuxFlowKernel::mark(const Flow& flow, const Mark& mark) {
  auto done = netfilter_.request(encode_flow_mark(flow, mark));
  if (!done && done.error().os_error == ENOENT) return {};
  return done;
}

Result<void> LinuxFlowKernel::forget(const Flow& flow) {
  auto done = netfilter_.request(encode_flow_delete(flow));
  if (!done && done.error().os_error == ENOENT) return {};
  return done;
}

}  // namespace oceanid::routing
