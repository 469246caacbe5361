#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/process/transport_sockets.hpp"

#include <fmt/format.h>

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::process {
namespace {

// At the sizes that are usual (208 KiB) the sender's buffer on loopback has held a relay to a tenth
// of its speed.
constexpr int buffer_bytes = 7 << 20;

const IpAddress loopback = IpAddress::v4({127, 0, 0, 1});

void set(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof value);
}

Result<UniqueFd> open(Family family, int type, const Mark& mark) {
  UniqueFd fd(
      ::socket(family == Family::v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("open a socket for the transport");
  if (mark.value != 0 &&
      ::setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark.value, sizeof mark.value) != 0)
    return fail_errno("mark a socket for the transport");
  return fd;
}

void enlarge(int fd) {
  set(fd, SOL_SOCKET, SO_RCVBUFFORCE, buffer_bytes);
  set(fd, SOL_SOCKET, SO_SNDBUFFORCE, buffer_bytes);
}

}  // namespace

Result<UniqueFd> begin_tcp(const SocketAddress& to, const Mark& mark) {
  auto fd = open(to.address.family(), SOCK_STREAM, mark);
  if (!fd) return fd;
  const NativeAddress native = to_native(to);
  if (::connect(fd->get(), native.get(), native.length) != 0 && errno != EINPROGRESS)
    return fail_errno("connect to " + to.to_string());
  return fd;
}

Result<UniqueFd> connected_udp(const SocketAddress& to, const Mark& mark) {
  auto fd = open(to.address.family(), SOCK_DGRAM, mark);
  if (!fd) return fd;
  const NativeAddress native = to_native(to);
  if (::connect(fd->get(), native.get(), native.length) != 0)
    return fail_errno("send to " + to.to_string());
  return fd;
}

Result<UniqueFd> loopback_udp() {
  auto fd = open(Family::v4, SOCK_DGRAM, {0, 0});
  if (!fd) return fd;
  enlarge(fd->get());
  const NativeAddress native = to_native({loopback, 0});
  if (::bind(fd->get(), native.get(), native.length) != 0)
    return fail_errno("bind a socket to the loopback interface");
  return fd;
}

Result<void> connect_loopback(int fd, std::uint16_t port) {
  const NativeAddress native = to_native({loopback, port});
  if (::connect(fd, native.get(), native.length) != 0)
    return fail_errno(fmt::format("connect to 127.0.0.1:{}", port));
  return {};
}

Result<std::uint16_t> port_of(int fd) {
  NativeAddress native;
  if (::getsockname(fd, native.get(), &native.length) != 0) return fail_errno("look at a socket");
  const auto address = from_native(native);
  return address ? address->port : std::uint16_t{0};
}

Result<UniqueFd> responder_udp(std::uint16_t port, const Mark& mark) {
  auto fd = open(Family::v6, SOCK_DGRAM, mark);
  const bool four = !fd;  // a kernel without IPv6
  if (four) fd = open(Family::v4, SOCK_DGRAM, mark);
  if (!fd) return fd;
  if (four) {
    set(fd->get(), IPPROTO_IP, IP_PKTINFO, 1);
  } else {
    set(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
    set(fd->get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  }
  const NativeAddress native = to_native({IpAddress::any(four ? Family::v4 : Family::v6), port});
  if (::bind(fd->get(), native.get(), native.length) != 0)
    return fail_errno(fmt::format("tunnel.tls.responder: bind UDP port {}", port));
  return fd;
}

}  // namespace oceanid::process
