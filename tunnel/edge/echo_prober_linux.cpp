#include "gateway/base/runtime/socket_address.hpp"
#include "tunnel/core/mtu.hpp"
#include "tunnel/core/probe_packet.hpp"
#include "tunnel/edge/echo_prober.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <net/if.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

using Socket = asio::ip::udp::socket;

using namespace std::chrono_literals;

constexpr auto full_pace = 2s;
constexpr auto full_patience = 500ms;
constexpr unsigned full_lost = 3;  // in a row
constexpr unsigned full_never = 8;
constexpr std::array<std::uint8_t, largest_path_mtu> padding{};
constexpr int batch = 64;  // answers per turn, so that a flood does not hold the event loop

awaitable<void> readable(Socket& socket) {
  auto [ec] = co_await socket.async_wait(Socket::wait_read, as_result);
  static_cast<void>(ec);  // what the socket has to say, take_answers() hears
}

awaitable<void> elapsed(asio::steady_timer& timer) {
  auto [ec] = co_await timer.async_wait(as_result);
  static_cast<void>(ec);
}

}  // namespace

EchoProber::EchoProber(const asio::any_io_executor& executor, Target target,
                       std::function<void()> on_change)
    : target_(std::move(target)),
      on_change_(std::move(on_change)),
      tracker_(target_.interval, target_.down_after),
      socket_(executor),
      timer_(executor) {}

void EchoProber::stop() {
  stopping_ = true;
  timer_.cancel();
}

void EchoProber::nudge() {
  hurried_ = true;
  timer_.cancel();
}

EchoResult EchoProber::result(TimePoint now) const {
  EchoResult result;
  result.full_size_lost = full_missing_ >= (full_heard_ ? full_lost : full_never);
  result.state = tracker_.state();
  result.rtt = tracker_.rtt();
  result.baseline = tracker_.baseline();
  result.loss = tracker_.losses().ratio();
  result.lost = tracker_.losses().lost();
  result.unheard = tracker_.unheard(now);
  if (tracker_.last_reply()) result.silence = now - *tracker_.last_reply();
  result.sent = tracker_.sent_total();
  result.word = word_;
  return result;
}

// Closes a socket whose device was replaced (the kernel binds to the index, not to the name).
bool EchoProber::open() {
  const unsigned index = ::if_nametoindex(target_.device.str().c_str());
  if (index != 0 && index == device_index_) return true;
  error_code ec;
  socket_.close(ec);
  device_index_ = 0;
  if (index == 0) return false;
  socket_.open(target_.source.is_v4() ? asio::ip::udp::v4() : asio::ip::udp::v6(), ec);
  if (!ec) socket_.non_blocking(true, ec);
  if (ec) return false;
  const int descriptor = socket_.native_handle();
  const std::string& device = target_.device.str();
  const NativeAddress local = to_native(SocketAddress{target_.source, 0});
  // Fails while the routing side has not given the device its address yet; the next turn tries
  // again.
  if (::setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(),
                   static_cast<socklen_t>(device.size())) != 0 ||
      ::bind(descriptor, local.get(), local.length) != 0) {
    socket_.close(ec);
    return false;
  }
  // Too large for the device is an error, not two fragments.
  const int probe = target_.source.is_v4() ? IP_PMTUDISC_PROBE : IPV6_PMTUDISC_PROBE;
  ::setsockopt(descriptor, target_.source.is_v4() ? IPPROTO_IP : IPPROTO_IPV6,
               target_.source.is_v4() ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &probe, sizeof probe);
  device_index_ = index;
  return true;
}

void EchoProber::ask_full_size(TimePoint now) {
  const std::size_t headers = target_.source.is_v4() ? 28 : 48;
  if (full_mtu_ < headers + probe_packet_size || !carries(tracker_.state()) || !socket_.is_open() ||
      now < deaf_until_) {
    full_nonce_ = 0;
    full_missing_ = 0;
    return;
  }
  if (now < full_next_) return;
  // One that was never heard may be answered by nobody: more of them until that counts.
  if (full_nonce_ != 0 && ++full_missing_ >= (full_heard_ ? full_lost : full_never) &&
      on_full_lost_)
    on_full_lost_(full_missing_);
  full_next_ = now + full_patience;
  ProbePacket packet;
  if (::getrandom(&packet.nonce, sizeof packet.nonce, 0) != sizeof packet.nonce) return;
  packet.sent = static_cast<std::uint64_t>(now.time_since_epoch().count());
  packet.hears_you = tracker_.hears_peer(now);  // what the small ones say
  full_nonce_ = packet.nonce;
  full_size_ = full_mtu_ - headers;
  ProbeBytes bytes = encode(packet);
  std::array<iovec, 2> parts{iovec{bytes.data(), bytes.size()},
                             iovec{const_cast<std::uint8_t*>(padding.data()),
                                   std::min(full_size_ - bytes.size(), padding.size())}};
  NativeAddress to = to_native(target_.peer);
  msghdr message{};
  message.msg_name = to.get();
  message.msg_namelen = to.length;
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  // What cannot leave is missed like one that got lost: the device may have a smaller MTU yet.
  static_cast<void>(::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}

void EchoProber::take_full_size(std::size_t size, TimePoint now) {
  if (size != full_size_) return;
  full_nonce_ = 0;
  full_heard_ = true;
  full_missing_ = 0;
  full_next_ = now + full_pace;
}

void EchoProber::ask(TimePoint now) {
  ProbePacket packet;
  packet.sent = static_cast<std::uint64_t>(now.time_since_epoch().count());
  packet.hears_you = tracker_.hears_peer(now);
  if (::getrandom(&packet.nonce, sizeof packet.nonce, 0) != sizeof packet.nonce)
    packet.nonce = packet.sent;
  // A question that cannot leave is a lost one all the same: the state must not stay "up" when the
  // device or its address is gone.
  tracker_.on_sent(packet.nonce, now);
  if (!open() || now < deaf_until_) return;
  const ProbeBytes bytes = encode(packet);
  const NativeAddress to = to_native(target_.peer);
  if (::sendto(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT, to.get(),
               to.length) < 0 &&
      errno != EAGAIN && errno != ENOBUFS) {
    // For example ENETUNREACH while the link is down; a fresh socket next time.
    error_code ec;
    socket_.close(ec);
    device_index_ = 0;
  }
}

void EchoProber::take_answers() {
  std::array<std::uint8_t, probe_packet_size> bytes{};
  for (int i = 0; i < batch && socket_.is_open(); ++i) {
    NativeAddress from;
    const ssize_t size = ::recvfrom(socket_.native_handle(), bytes.data(), bytes.size(),
                                    MSG_DONTWAIT | MSG_TRUNC, from.get(), &from.length);
    if (size < 0) {
      // A pending ICMP error (ECONNREFUSED) is taken off by reading it; there may be answers behind
      // it.
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == EMSGSIZE || errno == EINTR)
        continue;
      error_code ec;
      socket_.close(ec);
      device_index_ = 0;
      return;
    }
    const auto arrived = static_cast<std::size_t>(size);
    const auto packet = decode_probe(std::span(bytes).first(std::min(arrived, bytes.size())));
    if (!packet || from_native(from) != target_.peer) continue;
    const auto now = std::chrono::steady_clock::now();
    if (now < deaf_until_) continue;
    if (packet->type == ProbeType::notice)
      tracker_.on_unheard(now);
    else if (packet->type == ProbeType::reply && full_nonce_ != 0 && packet->nonce == full_nonce_)
      take_full_size(arrived, now);
    // Only who answers a question is listened to, so a flood of answers changes nothing.
    else if (packet->type == ProbeType::reply && tracker_.on_reply(packet->nonce, now))
      take_word(packet->word);
  }
}

void EchoProber::take_word(const std::optional<ExitWord>& word) {
  if (word == word_) return;
  word_ = word;
  if (on_change_) on_change_();
}

void EchoProber::report() {
  const PathState state = tracker_.state() == PathState::suspect ? PathState::up : tracker_.state();
  if (state == reported_) return;
  reported_ = state;
  if (on_change_) on_change_();
}

awaitable<void> EchoProber::run() {
  using boost::asio::experimental::awaitable_operators::operator||;
  while (!stopping_) {
    take_answers();
    const auto now = std::chrono::steady_clock::now();
    tracker_.check(now);
    if (std::exchange(hurried_, false) || now >= tracker_.next_request(now)) ask(now);
    ask_full_size(now);
    report();
    const auto next = tracker_.next_request(now);
    timer_.expires_at(std::min(next, tracker_.next_check().value_or(next)));
    if (socket_.is_open())
      co_await (readable(socket_) || elapsed(timer_));
    else
      co_await elapsed(timer_);
  }
}

}  // namespace oceanid::tunnel
