#include "proxy/edge/tls_pump.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace oceanid::proxy {
namespace {

constexpr int rounds_per_turn = 16;            // records before others' turn
constexpr std::size_t plain_piece = 16 << 10;  // one record

bool is_plain_end(SSL* ssl, int result) {
  const int error = SSL_get_error(ssl, result);
  if (error == SSL_ERROR_ZERO_RETURN) return true;
  // Many clients close without a close_notify; a FIN is an end for them, so it is for us.
  return error == SSL_ERROR_SSL &&
         ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

}  // namespace

void TlsPump::start(ServerCore& core, Ssl ssl, Descriptor outer, Descriptor inner,
                    int sessions_fd) {
  auto pump = std::make_shared<TlsPump>(core, std::move(ssl), std::move(outer), std::move(inner),
                                        sessions_fd);
  core.tasks().spawn("TLS from a client", run_up(pump));
  core.tasks().spawn("TLS to a client", run_down(std::move(pump)));
}

TlsPump::TlsPump(ServerCore& core, Ssl ssl, Descriptor outer, Descriptor inner, int sessions_fd)
    : core_(core),
      ssl_(std::move(ssl)),
      outer_(std::move(outer)),
      inner_(std::move(inner)),
      sessions_fd_(sessions_fd),
      wire_(std::make_shared<ClientWire>()),
      up_timer_(core.io().get_executor()),
      down_timer_(core.io().get_executor()) {
  core_.wires().add(sessions_fd_, wire_);
}

TlsPump::~TlsPump() {
  core_.wires().remove(sessions_fd_, wire_);
}

awaitable<void> TlsPump::run_up(Self self) {
  const Flow how = co_await self->up();
  if (self->ended_) co_return;
  if (how == Flow::ended) {
    self->up_finished_ = true;
    finish_sending(self->inner_.native_handle());
    co_return;
  }
  self->end(/*reset=*/true);
}

awaitable<void> TlsPump::run_down(Self self) {
  const Flow how = co_await self->down();
  if (!self->ended_) self->end(how == Flow::broken);
}

awaitable<TlsPump::Flow> TlsPump::up() {
  for (int round = 0;; ++round) {
    if (round == rounds_per_turn) {
      round = 0;
      if (!co_await ready(inner_, Descriptor::wait_write, up_timer_)) co_return Flow::broken;
    }
    const auto scratch = core_.pool().scratch();
    const int size = static_cast<int>(std::min(scratch.size(), plain_piece));
    const int got = tls_call([&] { return SSL_read(ssl_.get(), scratch.data(), size); });
    if (got > 0) {
      if (!co_await deliver({scratch.data(), static_cast<std::size_t>(got)})) co_return Flow::ended;
    } else if (is_plain_end(ssl_.get(), got)) {
      co_return Flow::ended;
    } else if (!co_await wait_as_told(got, up_timer_)) {
      co_return Flow::broken;
    }
  }
}

// To the session; false: it reads no more, which it tells by the end of the other direction too.
awaitable<bool> TlsPump::deliver(std::string_view bytes) {
  std::string held;  // the scratch buffer is others' as soon as this waits
  for (;;) {
    const ssize_t sent = send_some(inner_.native_handle(), bytes);
    if (sent < 0 && sent != -EAGAIN) co_return false;
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    if (bytes.empty()) co_return true;
    held = std::string(bytes);
    bytes = held;
    if (!co_await ready(inner_, Descriptor::wait_write, up_timer_)) co_return false;
  }
}

awaitable<TlsPump::Flow> TlsPump::down() {
  for (int round = 0;; ++round) {
    if (round == rounds_per_turn) {
      round = 0;
      if (!co_await ready(outer_, Descriptor::wait_write, down_timer_)) co_return Flow::broken;
    }
    const auto scratch = core_.pool().scratch();
    const ssize_t got =
        recv_some(inner_.native_handle(), scratch.data(), std::min(scratch.size(), plain_piece));
    if (got > 0) {
      if (!co_await encrypt({scratch.data(), static_cast<std::size_t>(got)}))
        co_return Flow::broken;
    } else if (got == -EAGAIN) {
      if (!co_await ready(inner_, Descriptor::wait_read, down_timer_)) co_return Flow::broken;
    } else {
      break;
    }
  }
  if (tunnel_was_reset()) co_return Flow::broken;
  if (!co_await say_goodbye()) co_return Flow::broken;
  // The client may go on for as long as the session listens: both ends of the pair have to be
  // closed.
  static_cast<void>(co_await ready(inner_, Descriptor::wait_error, down_timer_));
  co_return tunnel_was_reset() ? Flow::broken : Flow::ended;
}

awaitable<bool> TlsPump::encrypt(std::string_view bytes) {
  std::string held;
  for (;;) {
    const int sent = tls_call(
        [&] { return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); });
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      if (bytes.empty()) co_return true;
      continue;
    }
    if (held.empty()) held = std::string(bytes);  // a retry repeats the same bytes
    bytes = std::string_view(held).substr(held.size() - bytes.size());
    if (!co_await wait_as_told(sent, down_timer_)) co_return false;
  }
}

awaitable<bool> TlsPump::say_goodbye() {
  for (;;) {
    const int done = tls_call([&] { return SSL_shutdown(ssl_.get()); });
    if (done >= 0) break;
    if (!co_await wait_as_told(done, down_timer_)) co_return false;
  }
  finish_sending(outer_.native_handle());
  co_return true;
}

awaitable<bool> TlsPump::wait_as_told(int result, Timer& timer) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      co_return co_await ready(outer_, Descriptor::wait_read, timer);
    case SSL_ERROR_WANT_WRITE:
      co_return co_await ready(outer_, Descriptor::wait_write, timer);
    default:
      co_return false;
  }
}

awaitable<bool> TlsPump::ready(Descriptor& fd, Descriptor::wait_type what, Timer& timer) {
  // Patience is the session's business: it closes its end of the pair.
  static_cast<void>(co_await wait_until_ready(fd, what, timer, SteadyClock::time_point::max()));
  co_return !ended_;
}

bool TlsPump::tunnel_was_reset() const {
  return wire_->relay != nullptr ? wire_->relay->was_reset() : wire_->reset;
}

void TlsPump::end(bool reset) {
  ended_ = true;
  if (reset) {
    reset_on_close(outer_.native_handle());
    // The pair could only tell the tunnel of an end.
    if (wire_->relay != nullptr) wire_->relay->cut(ClosedBy::client, /*reset=*/true);
  }
  error_code ignored;
  outer_.close(ignored);  // wakes what waits for it
  inner_.close(ignored);
}

}  // namespace oceanid::proxy
