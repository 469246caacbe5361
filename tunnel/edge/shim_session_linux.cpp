#include "tunnel/edge/shim_session.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <sys/socket.h>

namespace oceanid::tunnel {
namespace {

constexpr unsigned batch = 32;         // datagrams in one system call
constexpr int batches_per_turn = 4;    // before others' turn
constexpr std::size_t largest = 9216;  // WireGuard's own, at the largest MTU that we configure

// One for the thread: what a read brings is copied into the queue at once.
struct Batch {
  std::array<std::array<std::uint8_t, largest>, batch> bytes;
  std::array<iovec, batch> pieces;
  std::array<mmsghdr, batch> messages;
};

Batch& scratch() {
  thread_local const auto out = std::make_unique<Batch>();
  return *out;
}

}  // namespace

ShimSession::ShimSession(const asio::any_io_executor& executor, UniqueFd udp)
    : udp_(executor, udp.release()) {}

void ShimSession::stop() {
  stopping_ = true;
  close_links();
  error_code ignored;
  udp_.close(ignored);
}

void ShimSession::close_links() {
  for (const auto& link : links_)
    link->close();
}

awaitable<void> ShimSession::run() {
  while (!stopping_) {
    auto [ec] = co_await udp_.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
    if (ec) co_return;
    bool more = true;
    for (int i = 0; i < batches_per_turn && more && !stopping_; ++i) {
      more = take_datagrams();
      pump();
    }
  }
}

// False: there is no more for now.
bool ShimSession::take_datagrams() {
  Batch& in = scratch();
  for (unsigned i = 0; i < batch; ++i) {
    in.pieces[i] = {in.bytes[i].data(), in.bytes[i].size()};
    in.messages[i] = {};
    in.messages[i].msg_hdr.msg_iov = &in.pieces[i];
    in.messages[i].msg_hdr.msg_iovlen = 1;
  }
  const int got =
      ::recvmmsg(udp_.native_handle(), in.messages.data(), batch, MSG_DONTWAIT, nullptr);
  // ECONNREFUSED: WireGuard's device is being replaced; reading has taken the error off.
  if (got <= 0) return got < 0 && (errno == ECONNREFUSED || errno == EINTR);
  const auto now = DatagramQueue::Time::clock::now();
  for (unsigned i = 0; i < static_cast<unsigned>(got); ++i) {
    const auto& message = in.messages[i];
    if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0 || links_.empty()) {
      ++homeless_;
      continue;
    }
    ++to_peer_;
    queue_.push(ByteSpan(in.bytes[i]).first(message.msg_len), now);
  }
  return static_cast<unsigned>(got) == batch;
}

void ShimSession::pump() {
  const auto now = DatagramQueue::Time::clock::now();
  // A link that breaks while it writes leaves the list later, in serve().
  for (auto link = links_.begin(); link != links_.end() && !queue_.empty(); ++link)
    if ((*link)->send_from(queue_, now)) return;
}

void ShimSession::deliver(const std::vector<ByteSpan>& datagrams) {
  from_peer_ += datagrams.size();
  if (deaf_ || stopping_) return;
  std::array<iovec, batch> pieces{};
  std::array<mmsghdr, batch> messages{};
  for (std::size_t at = 0; at < datagrams.size();) {
    const std::size_t count = std::min<std::size_t>(batch, datagrams.size() - at);
    for (std::size_t i = 0; i < count; ++i) {
      const ByteSpan one = datagrams[at + i];
      pieces[i] = {const_cast<std::uint8_t*>(one.data()), one.size()};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int sent = ::sendmmsg(udp_.native_handle(), messages.data(), static_cast<unsigned>(count),
                                MSG_DONTWAIT);
    // What WireGuard does not take now is lost, as on any wire.
    at += sent > 0 ? static_cast<std::size_t>(sent) : 1;
  }
}

awaitable<void> ShimSession::serve(std::shared_ptr<ShimLink> link) {
  if (stopping_) co_return;
  const auto at = links_.insert(links_.end(), link);
  // Taken off however this ends: cancellation unwinds.
  struct Remover {
    std::list<std::shared_ptr<ShimLink>>& links;
    std::list<std::shared_ptr<ShimLink>>::iterator at;
    DatagramQueue& queue;
    ~Remover() {
      (*at)->close();
      links.erase(at);
      if (links.empty()) queue.clear();
    }
  };
  const Remover remover{links_, at, queue_};
  co_await link->run({.datagrams = [this](const std::vector<ByteSpan>& all) { deliver(all); },
                      .writable = [this] { pump(); }});
}

ShimSession::Counters ShimSession::counters() const {
  return {to_peer_, from_peer_, queue_.dropped_late() + queue_.dropped_full() + homeless_};
}

}  // namespace oceanid::tunnel
