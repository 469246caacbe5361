#include "gateway/base/runtime/socket_address.hpp"
#include "tunnel/core/mtu.hpp"
#include "tunnel/core/probe_packet.hpp"
#include "tunnel/edge/echo_responder.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, largest_path_mtu> padding{};
constexpr auto notice_pace = std::chrono::milliseconds(500);
constexpr int batch = 64;  // questions per turn, so that a flood does not hold the event loop

bool enable(int descriptor, int level, int option) {
  const int on = 1;
  return ::setsockopt(descriptor, level, option, &on, sizeof on) == 0;
}

// FREEBIND: the address is on the device only when the routing side has been there.
bool allow_early_bind(int descriptor, Family family) {
  if (family == Family::v4) return enable(descriptor, IPPROTO_IP, IP_FREEBIND);
  return enable(descriptor, IPPROTO_IPV6, IPV6_V6ONLY) &&
         enable(descriptor, IPPROTO_IPV6, IPV6_FREEBIND);
}

}  // namespace

EchoResponder::EchoResponder(const asio::any_io_executor& executor)
    : executor_(executor), tasks_(executor) {}

Result<void> EchoResponder::configure(const std::vector<IfName>& devices,
                                      const std::vector<IpAddress>& own, std::uint16_t port,
                                      std::vector<IpAddress> peers) {
  std::ranges::sort(peers);
  peers_ = std::move(peers);
  std::vector<Place> places;
  for (const IfName& device : devices)
    if (const unsigned index = ::if_nametoindex(device.str().c_str()); index != 0)
      for (const IpAddress& address : own)
        places.push_back({device.str(), index, {address, port}});
  std::erase_if(sockets_, [&](auto& entry) {
    const bool keep = std::ranges::find(places, entry.first) != places.end();
    if (!keep) {
      askers_.forget_socket(entry.second->native_handle());
      entry.second->close();
    }
    return !keep;
  });
  Result<void> outcome;
  for (const Place& place : places) {
    if (sockets_.contains(place)) continue;
    auto socket = open(place);
    if (!socket) {
      outcome = std::unexpected(std::move(socket.error()));
      continue;
    }
    sockets_.emplace(place, *socket);
    tasks_.spawn("echo responder", serve(std::move(*socket), place.device));
  }
  if (!sockets_.empty() && !std::exchange(telling_, true))
    tasks_.spawn("echo notices", tell_silent());
  return outcome;
}

std::optional<bool> EchoResponder::hears_us(const IpAddress& peer) const {
  return askers_.hears_us(peer, std::chrono::steady_clock::now());
}

std::optional<EchoAskers::Heard> EchoResponder::last_heard(const IpAddress& peer) const {
  return askers_.last_heard(peer, std::chrono::steady_clock::now());
}

awaitable<void> EchoResponder::tell_silent() {
  for (;;) {
    static_cast<void>(co_await sleep_for(notice_pace));
    for (const auto& [to, socket] : askers_.silent(std::chrono::steady_clock::now())) {
      const ProbeBytes bytes = encode({ProbeType::notice, 0, 0, false});
      const NativeAddress native = to_native(to);
      static_cast<void>(
          ::sendto(socket, bytes.data(), bytes.size(), MSG_DONTWAIT, native.get(), native.length));
    }
  }
}

Result<std::shared_ptr<EchoResponder::Socket>> EchoResponder::open(const Place& place) {
  const std::string what = "opening the echo responder on " + place.local.to_string();
  const Family family = place.local.address.family();
  auto socket = std::make_shared<Socket>(executor_);
  error_code ec;
  socket->open(family == Family::v4 ? asio::ip::udp::v4() : asio::ip::udp::v6(), ec);
  if (!ec) socket->non_blocking(true, ec);
  if (ec) return fail_errno(what, ec.value());
  const int descriptor = socket->native_handle();
  const NativeAddress local = to_native(place.local);
  // REUSEPORT: the path responder has the same port on all addresses; the kernel prefers us.
  if (!allow_early_bind(descriptor, family) || !enable(descriptor, SOL_SOCKET, SO_REUSEPORT) ||
      ::setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, place.device.c_str(),
                   static_cast<socklen_t>(place.device.size())) != 0 ||
      ::bind(descriptor, local.get(), local.length) != 0)
    return fail_errno(what + " of " + place.device);
  return socket;
}

awaitable<void> EchoResponder::serve(std::shared_ptr<Socket> socket, std::string device) {
  while (true) {
    auto [ec] = co_await socket->async_wait(Socket::wait_read, as_result);
    if (ec) co_return;  // closed by configure()
    for (int i = 0; i < batch && answer_one(socket->native_handle(), device); ++i) {
    }
  }
}

// False when the queue is empty.
bool EchoResponder::answer_one(int descriptor, const std::string& device) {
  std::array<std::uint8_t, std::max(probe_packet_size, rotation_message_size)> bytes{};
  NativeAddress from;
  // MSG_TRUNC: the size that arrived, whatever we keep of it; the rest is padding.
  const ssize_t size = ::recvfrom(descriptor, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_TRUNC,
                                  from.get(), &from.length);
  // Other errors are ICMP's news about an earlier answer; reading has taken them off.
  if (size < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EBADF;
  const auto arrived = static_cast<std::size_t>(size);
  if (arrived > padding.size() + probe_packet_size) return true;
  const auto kept = std::span(bytes).first(std::min(arrived, bytes.size()));
  if (arrived == rotation_message_size) {
    if (const auto message = decode_rotation(kept)) {
      hear(descriptor, device, from, *message);
      return true;
    }
  }
  const auto packet = decode_probe(kept.first(std::min(kept.size(), probe_packet_size)));
  if (!packet || packet->type != ProbeType::request) return true;
  const auto source = from_native(from);
  if (!source || !std::ranges::binary_search(peers_, source->address)) return true;
  askers_.heard(*source, descriptor, packet->hears_you, std::chrono::steady_clock::now());
  ProbePacket reply = *packet;
  reply.type = ProbeType::reply;
  reply.word = word_;
  ProbeBytes out = encode(reply);
  std::array<iovec, 2> parts{
      iovec{out.data(), out.size()},
      iovec{const_cast<std::uint8_t*>(padding.data()), arrived - out.size()}};
  msghdr message{};
  message.msg_name = from.get();
  message.msg_namelen = from.length;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  // Lost when the device vanished meanwhile or its queue is full: the asker asks again.
  if (::sendmsg(descriptor, &message, MSG_DONTWAIT) == size) ++answered_;
  return true;
}

void EchoResponder::hear(int descriptor, const std::string& device, const NativeAddress& from,
                         const RotationMessage& message) {
  const auto source = from_native(from);
  if (!on_message_ || !source || !std::ranges::binary_search(peers_, source->address)) return;
  const auto answer = on_message_(device, source->address, message);
  if (!answer) return;
  const RotationBytes out = encode(*answer);
  // Lost: it is asked again.
  static_cast<void>(
      ::sendto(descriptor, out.data(), out.size(), MSG_DONTWAIT, from.get(), from.length));
}

bool EchoResponder::send(const IfName& device, const SocketAddress& to,
                         const RotationMessage& message) {
  const auto at = std::ranges::find_if(sockets_, [&](const auto& entry) {
    return entry.first.device == device.str() &&
           entry.first.local.address.family() == to.address.family();
  });
  if (at == sockets_.end()) return false;
  const RotationBytes out = encode(message);
  const NativeAddress address = to_native(to);
  return ::sendto(at->second->native_handle(), out.data(), out.size(), MSG_DONTWAIT, address.get(),
                  address.length) == static_cast<ssize_t>(out.size());
}

awaitable<void> EchoResponder::stop() {
  for (auto& [place, socket] : sockets_)
    socket->close();
  askers_ = {};
  sockets_.clear();
  co_await tasks_.stop();
}

}  // namespace oceanid::tunnel
