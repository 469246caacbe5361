#include "tunnel/core/plan.hpp"
#include "tunnel/core/probe_packet.hpp"
#include "tunnel/edge/echo_responder.hpp"
#include "tunnel/edge/socket_address_linux.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

constexpr int batch = 64;  // questions per turn, so that a flood does not hold the event loop

bool enable(int descriptor, int level, int option) {
  const int on = 1;
  return ::setsockopt(descriptor, level, option, &on, sizeof on) == 0;
}

// FREEBIND: the address appears on the interfaces only when the routing side has been there.
bool set_options(int descriptor, Family family) {
  if (family == Family::v4)
    return enable(descriptor, IPPROTO_IP, IP_FREEBIND) &&
           enable(descriptor, IPPROTO_IP, IP_PKTINFO);
  return enable(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) &&
         enable(descriptor, IPPROTO_IPV6, IPV6_FREEBIND) &&
         enable(descriptor, IPPROTO_IPV6, IPV6_RECVPKTINFO);
}

// The interface of the incoming packet. The control message is then sent back as it is: on output
// the kernel takes the interface and the source address from it.
unsigned arrival_interface(msghdr& message) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      info.ipi_spec_dst = info.ipi_addr;
      std::memcpy(CMSG_DATA(part), &info, sizeof info);
      return static_cast<unsigned>(info.ipi_ifindex);
    }
    if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(part), sizeof info);
      return info.ipi6_ifindex;
    }
  }
  return 0;
}

}  // namespace

EchoResponder::EchoResponder(const asio::any_io_executor& executor)
    : executor_(executor), tasks_(executor) {}

Result<void> EchoResponder::configure(const std::vector<IpAddress>& own, std::uint16_t port,
                                      std::vector<IpAddress> peers) {
  std::ranges::sort(peers);
  peers_ = std::move(peers);
  std::erase_if(sockets_, [&](auto& entry) {
    const bool keep =
        entry.first.port == port && std::ranges::find(own, entry.first.address) != own.end();
    if (!keep) entry.second->close();
    return !keep;
  });
  Result<void> outcome;
  for (const IpAddress& address : own) {
    const SocketAddress local{address, port};
    if (sockets_.contains(local)) continue;
    const auto failed = [&](int error) {
      outcome = fail_errno("opening the echo responder on " + local.to_string(), error);
    };
    auto socket = std::make_shared<Socket>(executor_);
    error_code ec;
    socket->open(address.is_v4() ? asio::ip::udp::v4() : asio::ip::udp::v6(), ec);
    if (!ec && !set_options(socket->native_handle(), address.family()))
      ec.assign(errno, ec.category());
    const NativeAddress native = to_native(local);
    if (!ec && ::bind(socket->native_handle(), native.pointer(), native.length) != 0) {
      failed(errno);
      continue;
    }
    if (!ec) socket->non_blocking(true, ec);
    if (ec) {
      failed(ec.value());
      continue;
    }
    sockets_.emplace(local, socket);
    tasks_.spawn("echo responder", serve(std::move(socket)));
  }
  return outcome;
}

awaitable<void> EchoResponder::serve(std::shared_ptr<Socket> socket) {
  while (true) {
    auto [ec] = co_await socket->async_wait(Socket::wait_read, as_result);
    if (ec) co_return;  // closed by configure()
    for (int i = 0; i < batch && answer_one(socket->native_handle()); ++i) {
    }
  }
}

bool EchoResponder::may_ask(const IpAddress& source, unsigned interface_index) const {
  if (!std::ranges::binary_search(peers_, source)) return false;
  std::array<char, IF_NAMESIZE> name{};
  return ::if_indextoname(interface_index, name.data()) != nullptr &&
         std::string_view(name.data()).starts_with(device_prefix);
}

// False when the queue is empty.
bool EchoResponder::answer_one(int descriptor) {
  std::array<std::uint8_t, probe_packet_size + 1> bytes{};  // one more shows what is too long
  alignas(cmsghdr) std::array<char, 128> control{};
  NativeAddress from;
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_name = &from.storage;
  message.msg_namelen = sizeof from.storage;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(descriptor, &message, MSG_DONTWAIT);
  if (size < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
  from.length = message.msg_namelen;

  const auto packet = decode_probe(std::span(bytes).first(static_cast<std::size_t>(size)));
  if (!packet || packet->type != ProbeType::request) return true;
  const unsigned interface_index = arrival_interface(message);
  const auto source = from_native(from);
  if (!source || !may_ask(source->address, interface_index)) return true;

  ProbePacket reply = *packet;
  reply.type = ProbeType::reply;
  ProbeBytes out = encode(reply);
  part = {out.data(), out.size()};
  // Lost when the interface vanished meanwhile or its queue is full: the asker asks again.
  if (::sendmsg(descriptor, &message, MSG_DONTWAIT) == static_cast<ssize_t>(out.size()))
    ++answered_;
  return true;
}

awaitable<void> EchoResponder::stop() {
  for (auto& [local, socket] : sockets_)
    socket->close();
  sockets_.clear();
  co_await tasks_.stop();
}

}  // namespace oceanid::tunnel
