#include "proxy/edge/intake.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto linger_time = 2s;
constexpr std::size_t linger_bytes = 256 << 10;

}  // namespace

Intake::Intake(ServerCore& core, Descriptor& socket, const IpAddress& client,
               SteadyClock::time_point deadline)
    : core_(core),
      socket_(socket),
      timer_(core.io().get_executor()),
      deadline_(deadline),
      // Told to leave, it reads the end of its stream and then looks at its seat.
      seat_(core.lobby().enter(client, [fd = socket.native_handle()] {
        static_cast<void>(::shutdown(fd, SHUT_RDWR));
      })) {}

awaitable<Reason> Intake::read(std::string& into) {
  return receive(into, 0);
}

awaitable<Reason> Intake::peek(std::string& into) {
  return receive(into, MSG_PEEK);
}

awaitable<Reason> Intake::receive(std::string& into, int flags) {
  for (;;) {
    const auto scratch = core_.pool().scratch();
    ssize_t got = 0;
    do {
      got = ::recv(socket_.native_handle(), scratch.data(), scratch.size(), MSG_DONTWAIT | flags);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
      into.append(scratch.data(), static_cast<std::size_t>(got));
      if (flags == 0) seat_.grow(static_cast<std::size_t>(got));
      co_return Reason::ok;
    }
    if (got == 0 || errno != EAGAIN)
      co_return seat_.evicted() ? Reason::overloaded : Reason::client_gone;
    if (const Reason reason = co_await wait(); reason != Reason::ok) co_return reason;
  }
}

void Intake::discard(std::size_t size) {
  const auto scratch = core_.pool().scratch();
  while (size > 0) {
    const ssize_t got =
        recv_some(socket_.native_handle(), scratch.data(), std::min(size, scratch.size()));
    if (got <= 0) return;
    size -= static_cast<std::size_t>(got);
  }
}

awaitable<Reason> Intake::wait() {
  return wait_for(Descriptor::wait_read);
}

awaitable<Reason> Intake::wait_writable() {
  return wait_for(Descriptor::wait_write);
}

awaitable<Reason> Intake::wait_for(Descriptor::wait_type what) {
  const bool ready = co_await wait_until_ready(socket_, what, timer_, deadline_);
  if (seat_.evicted()) co_return Reason::overloaded;
  co_return ready ? Reason::ok : Reason::head_timeout;
}

awaitable<void> say_and_leave(ServerCore& core, Descriptor& socket, std::string answer) {
  Timer timer(core.io().get_executor());
  const auto deadline = SteadyClock::now() + linger_time;
  std::string_view rest = answer;
  while (!rest.empty()) {
    const ssize_t sent = send_some(socket.native_handle(), rest);
    if (sent >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(sent));
    } else if (sent != -EAGAIN ||
               !co_await wait_until_ready(socket, Descriptor::wait_write, timer, deadline)) {
      co_return;
    }
  }
  finish_sending(socket.native_handle());
  std::size_t thrown_away = 0;
  while (thrown_away < linger_bytes) {
    const auto scratch = core.pool().scratch();
    const ssize_t got = recv_some(socket.native_handle(), scratch.data(), scratch.size());
    if (got > 0) {
      thrown_away += static_cast<std::size_t>(got);
    } else if (got != -EAGAIN ||
               !co_await wait_until_ready(socket, Descriptor::wait_read, timer, deadline)) {
      co_return;
    }
  }
}

}  // namespace oceanid::proxy
