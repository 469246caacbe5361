#include "tunnel/edge/path_prober.hpp"

#include <algorithm>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include <sys/random.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Clock = PathMtuLink::Time::clock;

constexpr int batch = 64;  // packets per turn, so that a flood does not hold the event loop
constexpr auto retry = 1s;
constexpr auto look_pause = 5s;

awaitable<void> elapsed(asio::steady_timer& timer) {
  auto [ec] = co_await timer.async_wait(as_result);
  static_cast<void>(ec);
}

}  // namespace

std::uint64_t random_session() {
  std::uint64_t value = 0;
  while (value == 0)
    if (::getrandom(&value, sizeof value, 0) != sizeof value) value = 0;
  return value;
}

PathProber::PathProber(const asio::any_io_executor& executor, Target target, PathProbeKey key,
                       unsigned inner, std::function<void()> on_change)
    : target_(target),
      link_({.role = PathProbeRole::dialler,
             .outer = target.peer.address.family(),
             .largest = default_path_mtu,
             .least_inner = target.least_inner,
             .inner = inner,
             .raise = target.raise},
            std::move(key), random_session(), Clock::now()),
      on_change_(std::move(on_change)),
      socket_(executor),
      reported_inner_(inner),
      timer_(executor) {}

void PathProber::stop() {
  stopping_ = true;
  timer_.cancel();
}

void PathProber::on_suspicion() {
  link_.on_suspicion(Clock::now());
  timer_.cancel();
}

void PathProber::on_contradiction() {
  const bool before = link_.contradicted();
  link_.on_contradiction(Clock::now());
  if (link_.contradicted() == before) return;
  report();
  timer_.cancel();
}

bool PathProber::open() {
  if (socket_.is_open()) return true;
  const auto now = Clock::now();
  if (now < open_at_) return false;
  open_at_ = now + retry;
  // Without a route to the peer there is nothing to say; the tunnel's own state says it already.
  if (!socket_.open(target_.peer.address.family(), target_.mark) || !socket_.connect(target_.peer))
    return false;
  look_at_ = now;
  return true;
}

// Once in a while: the link may have another MTU, and the route lead over another link.
void PathProber::look_at_link(PathMtuLink::Time now) {
  if (now < look_at_) return;
  look_at_ = now + look_pause;
  const auto local = socket_.local();
  const auto mtu = local ? mtu_of_link_with(*local) : std::nullopt;
  if (!mtu) {
    socket_.close();  // the address is gone; the next turn takes another
    open_at_ = now + retry;
    return;
  }
  if (local == local_ && *mtu == link_mtu_) return;
  local_ = local;
  link_mtu_ = *mtu;
  link_.on_network_change(*mtu, now);
}

void PathProber::exchange() {
  for (int i = 0; i < batch; ++i) {
    const auto packet = socket_.receive();
    if (!packet) break;
    const auto head = std::span(packet->head).first(packet->head_size);
    if (packet->hint) {
      link_.on_hint(head, *packet->hint, Clock::now());
      continue;
    }
    const auto heard = link_.receive(head, packet->size, Clock::now());
    if (heard.answer) socket_.send(*heard.answer);
  }
  for (int i = 0; i < batch; ++i) {
    const auto question = link_.next_question(Clock::now());
    if (!question) break;
    if (socket_.send(*question) == PathSocket::Sent::too_large)
      link_.on_refused(question->number, Clock::now());
  }
}

void PathProber::report() {
  if (link_.path() == reported_path_ && link_.inner() == reported_inner_) return;
  reported_path_ = link_.path();
  reported_inner_ = link_.inner();
  if (on_change_) on_change_();
}

awaitable<void> PathProber::run() {
  using boost::asio::experimental::awaitable_operators::operator||;
  while (!stopping_) {
    const bool ready = open();
    if (ready) look_at_link(Clock::now());
    exchange();
    report();
    const auto now = Clock::now();
    // Traffic, suspicion and changes are told by calls from outside; they are seen within a turn.
    auto next = std::min(link_.wake_at(), now + 250ms);
    if (!ready) next = std::max(next, now + 100ms);
    timer_.expires_at(next);
    if (stopping_) co_return;
    if (socket_.is_open())
      co_await (socket_.readable() || elapsed(timer_));
    else
      co_await elapsed(timer_);
  }
}

}  // namespace oceanid::tunnel
