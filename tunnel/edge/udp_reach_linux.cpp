#include "tunnel/edge/udp_reach.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Descriptor = asio::posix::stream_descriptor;

constexpr int batch = 32;  // datagrams per turn, so that a flood does not hold the event loop
// The address that we ask from may have gone with its link: a fresh socket finds another.
constexpr unsigned stale_after = 10;
constexpr auto socket_pause = 1s;
// Each costs one HMAC for every peer's key until one fits.
constexpr unsigned most_per_second = 1000;

awaitable<void> readable(Descriptor& socket) {
  auto [ec] = co_await socket.async_wait(Descriptor::wait_read, as_result);
  static_cast<void>(ec);
}

awaitable<void> until(std::chrono::steady_clock::time_point when) {
  static_cast<void>(co_await sleep_for(when - std::chrono::steady_clock::now()));
}

}  // namespace

UdpReach::UdpReach(const asio::any_io_executor& executor, std::string peer, TransportKey key,
                   TransportHost& host)
    : executor_(executor), peer_(std::move(peer)), key_(key), host_(host), change_(executor) {
  change_.expires_at(asio::steady_timer::time_point::max());
}

void UdpReach::set_interval(std::chrono::nanoseconds interval) {
  if (interval_ == interval) return;
  interval_ = interval;
  change_.cancel();
}

void UdpReach::stop() {
  stopping_ = true;
  change_.cancel();
}

awaitable<void> UdpReach::wait_for_change() {
  auto [ec] = co_await change_.async_wait(as_result);
  static_cast<void>(ec);  // cancelled is how it is woken
}

awaitable<void> UdpReach::run(Transport rung) {
  using boost::asio::experimental::awaitable_operators::operator||;
  const auto purpose = rung == Transport::udp ? SocketPurpose::udp : SocketPurpose::udp_443;
  Way way(executor_);
  while (!stopping_) {
    if (interval_ == 0ns) {
      error_code ignored;
      way.socket.close(ignored);
      co_await wait_for_change();
      continue;
    }
    if (!way.socket.is_open()) {
      auto fd = co_await host_.socket(purpose, peer_);
      if (!fd) {
        co_await sleep_for(socket_pause);
        continue;
      }
      way.socket.assign(fd->release());
      way.unanswered = 0;
    }
    bool open = ask(way);
    const auto next = std::chrono::steady_clock::now() + interval_;
    const auto interval = interval_;
    while (open && !stopping_ && interval_ == interval && std::chrono::steady_clock::now() < next) {
      co_await (readable(way.socket) || until(next) || wait_for_change());
      open = take_answers(way, rung);
    }
    if (!open || way.unanswered >= stale_after) {
      error_code ignored;
      way.socket.close(ignored);
      if (!open) co_await sleep_for(std::min<std::chrono::nanoseconds>(interval, socket_pause));
    }
  }
}

// False: the socket is of no use any more.
bool UdpReach::ask(Way& way) const {
  ReachProbe probe;
  if (::getrandom(&probe.nonce, sizeof probe.nonce, 0) != sizeof probe.nonce) return true;
  probe.mac = reach_mac(key_, probe);
  way.asked[way.next++ % remembered] = probe.nonce;
  ++way.unanswered;
  const ReachBytes bytes = encode(probe);
  const ssize_t sent =
      ::send(way.socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  // ECONNREFUSED is an earlier probe's: nobody listens there, for now.
  return sent >= 0 || errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED ||
         errno == EPERM;
}

bool UdpReach::take_answers(Way& way, Transport rung) {
  std::array<std::uint8_t, reach_bytes + 1> bytes{};
  for (int i = 0; i < batch; ++i) {
    const ssize_t size =
        ::recv(way.socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size < 0) {
      if (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK;
    }
    const auto probe = decode_reach(ByteSpan(bytes).first(static_cast<std::size_t>(size)));
    if (!probe || probe->type != ReachType::answer || probe->nonce == 0) continue;
    const auto asked = std::ranges::find(way.asked, probe->nonce);
    if (asked == way.asked.end() || !same_mac(probe->mac, reach_mac(key_, *probe))) continue;
    *asked = 0;
    way.unanswered = 0;
    host_.on_answer(peer_, rung);
  }
  return true;
}

ReachResponder::ReachResponder(const asio::any_io_executor& executor, UniqueFd socket)
    : socket_(executor, socket.release()) {}

void ReachResponder::stop() {
  error_code ignored;
  socket_.close(ignored);
}

awaitable<void> ReachResponder::run() {
  for (;;) {
    auto [ec] = co_await socket_.async_wait(Descriptor::wait_read, as_result);
    if (ec) co_return;
    for (int i = 0; i < batch && answer_one(); ++i) {
    }
  }
}

bool ReachResponder::may_work(std::chrono::steady_clock::time_point now) {
  if (now - window_ >= 1s) {
    window_ = now;
    in_window_ = 0;
  }
  return ++in_window_ <= most_per_second;
}

// The answer leaves from the address that the question came to, which on a node with several is
// not the one that routing would choose: the control message is sent back as it was received.
bool ReachResponder::answer_one() {
  std::array<std::uint8_t, reach_bytes + 1> bytes{};
  alignas(cmsghdr) std::array<std::uint8_t, 128> control{};
  sockaddr_storage from{};
  iovec piece{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof from;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t size = ::recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT);
  if (size < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EBADF;
  auto probe = decode_reach(ByteSpan(bytes).first(static_cast<std::size_t>(size)));
  if (!probe || probe->type != ReachType::question || !may_work(std::chrono::steady_clock::now())) {
    ++ignored_;
    return true;
  }
  const auto key = std::ranges::find_if(
      keys_, [&](const TransportKey& one) { return same_mac(probe->mac, reach_mac(one, *probe)); });
  if (key == keys_.end()) {
    ++ignored_;
    return true;
  }
  probe->type = ReachType::answer;
  probe->mac = reach_mac(*key, *probe);
  const ReachBytes answer = encode(*probe);
  iovec out{const_cast<std::uint8_t*>(answer.data()), answer.size()};
  message.msg_iov = &out;
  message.msg_flags = 0;
  if (::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) ++answered_;
  return true;
}

}  // namespace oceanid::tunnel
