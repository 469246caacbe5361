#include "tunnel/edge/shim_link.hpp"

#include "tunnel/edge/tcp_backlog.hpp"

#include <array>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>

#include <poll.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto heartbeat = 1s;
constexpr int silent_beats = 3;     // then it is dead
constexpr int reads_per_turn = 16;  // before others' turn
constexpr std::size_t one_record = 16U << 10U;

}  // namespace

ShimLink::ShimLink(Descriptor socket, Ssl ssl)
    : socket_(std::move(socket)), ssl_(std::move(ssl)), blocked_wait_(socket_.get_executor()) {
  blocked_wait_.expires_at(asio::steady_timer::time_point::max());
  tune_for_datagrams(socket_.native_handle());
}

void ShimLink::close() {
  running_ = false;
  error_code ignored;
  socket_.close(ignored);  // wakes what waits for it
  blocked_wait_.cancel();
}

awaitable<void> ShimLink::run(Events events) {
  using boost::asio::experimental::awaitable_operators::operator||;
  events_ = std::move(events);
  running_ = true;
  co_await (read_loop() || write_loop() || beat());
  running_ = false;
  events_ = {};
}

awaitable<void> ShimLink::read_loop() {
  std::array<std::uint8_t, one_record> bytes{};
  for (int round = 0; running_; ++round) {
    const int got = tls_call([&] { return SSL_read(ssl_.get(), bytes.data(), bytes.size()); });
    if (got > 0) {
      if (!take(ByteSpan(bytes).first(static_cast<std::size_t>(got)))) co_return;
      if (round % reads_per_turn != reads_per_turn - 1) continue;
      // What TLS has read ahead does not show on the socket: only another's turn is waited for.
      co_await asio::post(socket_.get_executor(), asio::use_awaitable);
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), got);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) co_return;
    auto [ec] = co_await socket_.async_wait(
        error == SSL_ERROR_WANT_READ ? Descriptor::wait_read : Descriptor::wait_write, as_result);
    if (ec) co_return;
  }
}

// False: the stream cannot be understood any more.
bool ShimLink::take(ByteSpan bytes) {
  heard_ = true;
  bytes_in_ += bytes.size();
  decoder_.feed(bytes);
  whole_.clear();
  while (const auto datagram = decoder_.next()) {
    if (datagram->empty()) continue;
    whole_.push_back(*datagram);
    // One that had begun earlier lies in the decoder, which needs its room for the last one.
    const bool inside = datagram->data() >= bytes.data() && datagram->data() < &bytes.back() + 1;
    if (inside) continue;
    events_.datagrams(whole_);
    whole_.clear();
  }
  if (!whole_.empty()) events_.datagrams(whole_);
  return !decoder_.broken();
}

bool ShimLink::takes_more() {
  pollfd asked{socket_.native_handle(), POLLOUT, 0};
  return ::poll(&asked, 1, 0) == 1 && (asked.revents & POLLOUT) != 0;
}

ShimLink::Wait ShimLink::write_record() {
  const int sent = tls_call(
      [&] { return SSL_write(ssl_.get(), record_.data(), static_cast<int>(record_.size())); });
  if (sent > 0) {
    bytes_out_ += record_.size();
    said_ = true;
    record_.clear();
    return Wait::nothing;
  }
  const int error = SSL_get_error(ssl_.get(), sent);
  // TLS 1.3 never has to read before it can write on.
  return error == SSL_ERROR_WANT_WRITE ? Wait::writable : Wait::broken;
}

void ShimLink::block() {
  blocked_ = true;
  blocked_wait_.cancel();
}

bool ShimLink::send_from(DatagramQueue& queue, DatagramQueue::Time now) {
  while (running_ && !blocked_) {
    if (!takes_more()) {
      block();
      return false;
    }
    if (record_.empty() && !queue.fill(record_, now)) return true;
    switch (write_record()) {
      case Wait::nothing:
        continue;
      case Wait::writable:
        block();
        return false;
      case Wait::broken:
        close();
        return false;
    }
  }
  return false;
}

awaitable<void> ShimLink::write_loop() {
  while (running_) {
    if (!blocked_) {
      auto [ec] = co_await blocked_wait_.async_wait(as_result);
      static_cast<void>(ec);  // cancelled is how it is woken
      if (!blocked_) {
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return;
        continue;
      }
    }
    auto [ec] = co_await socket_.async_wait(Descriptor::wait_write, as_result);
    if (ec) co_return;
    if (!record_.empty()) {
      const Wait next = write_record();
      if (next == Wait::broken) co_return;
      if (next == Wait::writable) continue;
    }
    blocked_ = false;
    if (events_.writable) events_.writable();
  }
}

awaitable<void> ShimLink::beat() {
  int silent = 0;
  while (running_) {
    if (co_await sleep_for(heartbeat)) co_return;
    silent = std::exchange(heard_, false) ? 0 : silent + 1;
    if (silent >= silent_beats) co_return;
    limit_backlog(socket_.native_handle());
    if (std::exchange(said_, false) || blocked_ || !takes_more()) continue;
    append_frame(record_, {});
    const Wait next = write_record();
    if (next == Wait::broken) co_return;
    if (next == Wait::writable) block();
  }
}

}  // namespace oceanid::tunnel
