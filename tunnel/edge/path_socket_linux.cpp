#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "tunnel/edge/path_socket.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include <ifaddrs.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

using Socket = asio::ip::udp::socket;

constexpr std::array<std::uint8_t, largest_path_mtu> padding{};
constexpr int receive_buffer = 1 << 20;  // a burst of full-size probes

unsigned headers(Family family) {
  return (family == Family::v4 ? 20 : 40) + 8;
}

bool set(int descriptor, int level, int option, int value) {
  return ::setsockopt(descriptor, level, option, &value, sizeof value) == 0;
}

// Control messages of one packet: room for one address and one error.
struct Control {
  alignas(cmsghdr) std::array<char, 256> bytes{};
};

template <class T>
void append_control(msghdr& message, int level, int type, const T& value) {
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(header), &value, sizeof value);
  message.msg_controllen = CMSG_SPACE(sizeof value);
}

template <class T>
T control_value(cmsghdr* header) {
  T value{};
  std::memcpy(&value, CMSG_DATA(header), sizeof value);
  return value;
}

IpAddress address_of(const in_addr& address) {
  std::array<std::uint8_t, 4> bytes{};
  std::memcpy(bytes.data(), &address, bytes.size());
  return IpAddress::v4(bytes);
}

IpAddress address_of(const in6_addr& address) {
  std::array<std::uint8_t, 16> bytes{};
  std::memcpy(bytes.data(), &address, bytes.size());
  return IpAddress::v6(bytes);
}

void set_source(msghdr& message, const IpAddress& from) {
  if (from.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, from.bytes().data(), 4);
    append_control(message, IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, from.bytes().data(), 16);
    append_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

// The MTU that a router named; none: another error, or one of our own kernel.
std::optional<unsigned> named_mtu(const sock_extended_err& error) {
  const bool four = error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == ICMP_DEST_UNREACH &&
                    error.ee_code == ICMP_FRAG_NEEDED;
  const bool six = error.ee_origin == SO_EE_ORIGIN_ICMP6 && error.ee_type == ICMP6_PACKET_TOO_BIG;
  return four || six ? std::optional<unsigned>(error.ee_info) : std::nullopt;
}

void take_control(msghdr& message, PathSocket::Packet& packet) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO)
      packet.to = address_of(control_value<in_pktinfo>(header).ipi_addr);
    else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO)
      packet.to = address_of(control_value<in6_pktinfo>(header).ipi6_addr);
    else if ((header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR) ||
             (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR))
      packet.hint = named_mtu(control_value<sock_extended_err>(header));
  }
}

}  // namespace

Result<void> PathSocket::open(Family family, const Mark& mark) {
  close();
  family_ = family;
  error_code ec;
  socket_.open(family == Family::v4 ? asio::ip::udp::v4() : asio::ip::udp::v6(), ec);
  if (!ec) socket_.non_blocking(true, ec);
  if (ec) return fail_errno("opening a socket for path probes", ec.value());
  const int fd = socket_.native_handle();
  const bool four = family == Family::v4;
  const bool done = four ? set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE) &&
                               set(fd, IPPROTO_IP, IP_RECVERR, 1) &&
                               set(fd, IPPROTO_IP, IP_PKTINFO, 1)
                         : set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
                               set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) &&
                               set(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1) &&
                               set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) &&
                               set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  // Without CAP_NET_ADMIN there is no mark, and no tunnel either.
  if (!done || (mark.value != 0 &&
                ::setsockopt(fd, SOL_SOCKET, SO_MARK, &mark.value, sizeof mark.value) != 0)) {
    const int error = errno;
    close();
    return fail_errno("preparing a socket for path probes", error);
  }
  // Above net.core.rmem_max where we may, as whoever has set a mark may.
  if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer))
    set(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer);
  return {};
}

// REUSEPORT, not REUSEADDR: only sockets of our own account may share the port. The echo's are
// bound to a device and an address, which the kernel prefers to this one.
Result<void> PathSocket::bind(std::uint16_t port) {
  const NativeAddress local = to_native({IpAddress::any(family_), port});
  if (set(socket_.native_handle(), SOL_SOCKET, SO_REUSEPORT, 1) &&
      ::bind(socket_.native_handle(), local.get(), local.length) == 0)
    return {};
  const int error = errno;
  close();
  return fail_errno("opening UDP port " + std::to_string(port) + " for path probes", error);
}

Result<void> PathSocket::connect(const SocketAddress& to) {
  const NativeAddress peer = to_native(to);
  if (::connect(socket_.native_handle(), peer.get(), peer.length) == 0) return {};
  const int error = errno;
  close();
  return fail_errno("probing the path to " + to.to_string(), error);
}

void PathSocket::close() {
  error_code ec;
  socket_.close(ec);
}

PathSocket::Sent PathSocket::send(const PathMtuLink::Datagram& datagram,
                                  const std::optional<SocketAddress>& to,
                                  const std::optional<IpAddress>& from) {
  if (!socket_.is_open()) return Sent::lost;
  auto head = datagram.head;
  const std::size_t payload = datagram.size - headers(family_);
  std::array<iovec, 2> parts{
      iovec{head.data(), head.size()},
      iovec{const_cast<std::uint8_t*>(padding.data()), payload - head.size()}};
  Control control;
  NativeAddress destination;
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  if (to) {
    destination = to_native(*to);
    message.msg_name = destination.get();
    message.msg_namelen = destination.length;
  }
  if (from && !from->is_unspecified()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = control.bytes.size();
    set_source(message, *from);
  }
  // A pending ICMP error is reported by the next call, whatever that is: it is taken off first, and
  // what remains is about this packet.
  for (int attempt = 0; attempt < 2; ++attempt) {
    int pending = 0;
    socklen_t length = sizeof pending;
    ::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &pending, &length);
    if (::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
      return Sent::yes;
    if (errno == EAGAIN || errno == ENOBUFS) return Sent::lost;
  }
  return errno == EMSGSIZE ? Sent::too_large : Sent::lost;
}

std::optional<PathSocket::Packet> PathSocket::receive_from(bool errors) {
  Packet packet;
  iovec part{packet.head.data(), packet.head.size()};
  Control control;
  NativeAddress from;
  msghdr message{};
  message.msg_name = from.get();
  message.msg_namelen = from.length;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  // MSG_TRUNC: the size on the wire, whatever we keep of it.
  const ssize_t size = ::recvmsg(socket_.native_handle(), &message,
                                 MSG_DONTWAIT | MSG_TRUNC | (errors ? MSG_ERRQUEUE : 0));
  if (size < 0) return std::nullopt;
  packet.head_size = std::min(static_cast<std::size_t>(size), packet.head.size());
  packet.size = static_cast<unsigned>(size) + headers(family_);
  from.length = message.msg_namelen;
  if (const auto sender = from_native(from)) packet.from = *sender;
  take_control(message, packet);
  return packet;
}

// Errors that are no router's word about a size are taken off and say nothing.
std::optional<PathSocket::Packet> PathSocket::receive_error() {
  while (auto packet = receive_from(true))
    if (packet->hint) return packet;
  return std::nullopt;
}

std::optional<PathSocket::Packet> PathSocket::receive() {
  if (!socket_.is_open()) return std::nullopt;
  if (auto error = receive_error()) return error;
  // ECONNREFUSED and the like stand in front of what has arrived.
  for (int attempt = 0; attempt < 4; ++attempt) {
    auto packet = receive_from(false);
    if (packet) {
      packet->hint.reset();
      return packet;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EBADF) break;
  }
  return std::nullopt;
}

awaitable<void> PathSocket::readable() {
  auto [ec] = co_await socket_.async_wait(Socket::wait_read, as_result);
  static_cast<void>(ec);  // what the socket has to say, receive() hears
}

std::optional<IpAddress> PathSocket::local() {
  NativeAddress local;
  if (!socket_.is_open() || ::getsockname(socket_.native_handle(), local.get(), &local.length) != 0)
    return std::nullopt;
  const auto address = from_native(local);
  return address ? std::optional(address->address) : std::nullopt;
}

std::optional<OwnLink> link_with(const IpAddress& address) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr) continue;
    NativeAddress native;
    const bool four = one->ifa_addr->sa_family == AF_INET;
    if (!four && one->ifa_addr->sa_family != AF_INET6) continue;
    native.length = four ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::memcpy(&native.storage, one->ifa_addr, native.length);
    const auto found = from_native(native);
    if (!found || found->address != address) continue;
    const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strncpy(request.ifr_name, one->ifa_name, IFNAMSIZ - 1);
    if (::ioctl(any.get(), SIOCGIFMTU, &request) != 0 || request.ifr_mtu <= 0) break;
    return OwnLink{one->ifa_name, static_cast<unsigned>(request.ifr_mtu)};
  }
  return std::nullopt;
}

std::optional<unsigned> mtu_of_link_with(const IpAddress& address) {
  const auto link = link_with(address);
  return link ? std::optional(link->mtu) : std::nullopt;
}

}  // namespace oceanid::tunnel
