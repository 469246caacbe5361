#include "tunnel/edge/path_prober.hpp"
#include "tunnel/edge/path_responder.hpp"

#include <algorithm>

#include <boost/asio/experimental/awaitable_operators.hpp>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Clock = PathMtuLink::Time::clock;

constexpr auto look_pause = 5s;
constexpr int batch = 128;  // packets per turn, so that a flood does not hold the event loop

awaitable<void> elapsed(asio::steady_timer& timer) {
  auto [ec] = co_await timer.async_wait(as_result);
  static_cast<void>(ec);
}

awaitable<void> readable(PathSocket& socket, asio::steady_timer& timer) {
  if (socket.is_open())
    co_await socket.readable();
  else
    co_await elapsed(timer);
}

}  // namespace

PathResponder::PathResponder(const asio::any_io_executor& executor, std::function<void()> on_change)
    : executor_(executor),
      on_change_(std::move(on_change)),
      sockets_{PathSocket(executor), PathSocket(executor)},
      timer_(executor),
      tasks_(executor) {}

Result<void> PathResponder::configure(const Settings& settings,
                                      const std::map<std::string, Peer>& peers) {
  if (settings != settings_) {
    for (PathSocket& socket : sockets_)
      socket.close();
    conversations_.clear();
    settings_ = settings;
  }
  std::map<std::pair<std::uint64_t, Family>, Conversation> kept;
  for (const auto& [name, peer] : peers)
    for (const Family family : {Family::v4, Family::v6}) {
      const std::pair place(peer.key.recipient_for(PathProbeRole::responder), family);
      if (auto known = conversations_.extract(place); !known.empty()) {
        known.mapped().peer = name;
        kept.insert(std::move(known));
        continue;
      }
      const unsigned inner =
          std::max(settings.least_inner, std::min(peer.inner, inner_mtu(largest_path_mtu, family)));
      kept.emplace(place, Conversation{name,
                                       PathMtuLink({.role = PathProbeRole::responder,
                                                    .outer = family,
                                                    .largest = default_path_mtu,
                                                    .least_inner = settings.least_inner,
                                                    .inner = inner,
                                                    .raise = settings.raise},
                                                   peer.key, random_session(), Clock::now()),
                                       {},
                                       {},
                                       default_path_mtu,
                                       {},
                                       {},
                                       inner});
    }
  conversations_ = std::move(kept);
  if (settings.port == 0) return {};
  Result<void> outcome;
  for (const Family family : {Family::v4, Family::v6}) {
    PathSocket& socket = socket_of(family);
    if (socket.is_open()) continue;
    auto opened = socket.open(family, settings.mark);
    if (opened) opened = socket.bind(settings.port);
    // A host without IPv6 has nobody who asks by it.
    if (!opened && family == Family::v4) outcome = std::move(opened);
  }
  timer_.cancel();
  if (!running_) {
    running_ = true;
    tasks_.spawn("path responder", serve());
  }
  return outcome;
}

const PathMtuLink* PathResponder::link(const std::string& peer) const {
  const Conversation* best = nullptr;
  for (const auto& [place, one] : conversations_)
    if (one.peer == peer && one.where && (best == nullptr || one.heard > best->heard)) best = &one;
  return best == nullptr ? nullptr : &best->link;
}

void PathResponder::on_traffic(const std::string& peer) {
  for (auto& [place, one] : conversations_)
    if (one.peer == peer && one.where) one.link.on_traffic(Clock::now());
}

void PathResponder::look_at_links(PathMtuLink::Time now) {
  if (now < look_at_) return;
  look_at_ = now + look_pause;
  for (auto& [place, one] : conversations_) {
    const auto mtu = one.where ? mtu_of_link_with(one.here) : std::nullopt;
    if (!mtu || *mtu == one.link_mtu) continue;
    one.link_mtu = *mtu;
    one.link.on_network_change(*mtu, now);
  }
}

PathResponder::Conversation* PathResponder::find(std::uint64_t recipient, Family family) {
  const auto at = conversations_.find({recipient, family});
  return at == conversations_.end() ? nullptr : &at->second;
}

void PathResponder::take(PathSocket& socket, Family family) {
  for (int i = 0; i < batch; ++i) {
    const auto packet = socket.receive();
    if (!packet) return;
    const auto now = Clock::now();
    const auto head = std::span(packet->head).first(packet->head_size);
    if (packet->hint) {
      // It quotes what we sent, so the recipient is the other end; whose it is, the MAC says.
      for (auto& [place, one] : conversations_)
        if (one.where && place.second == family) one.link.on_hint(head, *packet->hint, now);
      continue;
    }
    const auto recipient = path_probe_recipient(head);
    Conversation* one = recipient ? find(*recipient, family) : nullptr;
    if (one == nullptr) continue;
    const auto heard = one->link.receive(head, packet->size, now);
    if (heard.fresh) {
      const bool moved = one->where != packet->from || one->here != packet->to;
      one->where = packet->from;
      one->here = packet->to;
      one->heard = now;
      if (moved) {
        one->link_mtu = mtu_of_link_with(packet->to).value_or(default_path_mtu);
        one->link.on_network_change(one->link_mtu, now);
      }
    }
    if (heard.answer) socket.send(*heard.answer, packet->from, packet->to);
  }
}

void PathResponder::ask(PathMtuLink::Time now) {
  for (auto& [place, one] : conversations_) {
    if (!one.where) continue;
    PathSocket& socket = socket_of(place.second);
    for (int i = 0; i < batch; ++i) {
      const auto question = one.link.next_question(now);
      if (!question) break;
      if (socket.send(*question, one.where, one.here) == PathSocket::Sent::too_large)
        one.link.on_refused(question->number, now);
    }
  }
}

void PathResponder::report() {
  bool changed = false;
  for (auto& [place, one] : conversations_) {
    if (!one.where) continue;
    if (one.link.path() == one.reported_path && one.link.inner() == one.reported_inner) continue;
    one.reported_path = one.link.path();
    one.reported_inner = one.link.inner();
    changed = true;
  }
  if (changed && on_change_) on_change_();
}

awaitable<void> PathResponder::serve() {
  using boost::asio::experimental::awaitable_operators::operator||;
  while (!stopping_) {
    for (const Family family : {Family::v4, Family::v6})
      take(socket_of(family), family);
    const auto now = Clock::now();
    look_at_links(now);
    ask(now);
    report();
    auto next = now + 250ms;  // what is told by calls from outside is seen then
    for (const auto& [place, one] : conversations_)
      if (one.where) next = std::min(next, one.link.wake_at());
    timer_.expires_at(next);
    co_await (readable(sockets_[0], timer_) || readable(sockets_[1], timer_) || elapsed(timer_));
  }
}

awaitable<void> PathResponder::stop() {
  stopping_ = true;
  on_change_ = nullptr;
  for (PathSocket& socket : sockets_)
    socket.close();
  timer_.cancel();
  co_await tasks_.stop();
}

}  // namespace oceanid::tunnel
