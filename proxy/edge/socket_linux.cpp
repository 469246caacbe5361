#include "proxy/edge/socket_linux.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace oceanid::proxy {
namespace {

void set_int(int fd, int level, int name, int value) {
  // These options exist on every TCP socket; a socket that was reset meanwhile may refuse them,
  // and the next read tells.
  static_cast<void>(::setsockopt(fd, level, name, &value, sizeof value));
}

}  // namespace

SocketAddress plain_address(const NativeAddress& native) {
  SocketAddress out = from_native(native).value_or(SocketAddress{});
  out.address = unmapped(out.address);
  return out;
}

void tune(int fd) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30'000);
}

std::expected<UniqueFd, int> open_stream(Family family) {
  const int domain = family == Family::v4 ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return std::unexpected(errno);
  return fd;
}

int bind_to_device(int fd, const std::string& device) {
  const auto length = static_cast<socklen_t>(device.size() + 1);
  return ::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device.c_str(), length) == 0 ? 0 : errno;
}

int start_connect(int fd, const SocketAddress& address) {
  const NativeAddress raw = to_native(address);
  return ::connect(fd, raw.get(), raw.length) == 0 ? 0 : errno;
}

int take_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

void reset_on_close(int fd) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
}

void stop_reading(int fd) {
  ::shutdown(fd, SHUT_RD);
}

void finish_sending(int fd) {
  static_cast<void>(::shutdown(fd, SHUT_WR));
}

std::expected<Accepted, int> accept_from(int listening) {
  NativeAddress raw;
  UniqueFd fd(::accept4(listening, raw.get(), &raw.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd) return std::unexpected(errno);
  return Accepted{std::move(fd), plain_address(raw)};
}

SocketAddress local_address(int fd) {
  NativeAddress raw;
  if (::getsockname(fd, raw.get(), &raw.length) != 0) return {};
  return plain_address(raw);
}

Descriptor watch(asio::io_context& io, UniqueFd fd) {
  Descriptor out(io.get_executor(), fd.get());
  fd.release();
  return out;
}

ssize_t send_some(int fd, std::string_view bytes) {
  for (;;) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}

namespace {

ssize_t receive(int fd, char* buffer, std::size_t size, int flags) {
  for (;;) {
    const ssize_t got = ::recv(fd, buffer, size, MSG_DONTWAIT | flags);
    if (got >= 0) return got;
    if (errno != EINTR) return -errno;
  }
}

}  // namespace

ssize_t recv_some(int fd, char* buffer, std::size_t size) {
  return receive(fd, buffer, size, 0);
}

ssize_t peek_some(int fd, char* buffer, std::size_t size) {
  return receive(fd, buffer, size, MSG_PEEK);
}

awaitable<bool> wait_until_ready(Descriptor& fd, Descriptor::wait_type what, Timer& timer,
                                 SteadyClock::time_point deadline) {
  // The handler may run after this coroutine is gone (a descriptor that is destroyed posts its
  // aborted waits), so what it touches is shared.
  struct State {
    bool ready = false;
    Timer* waiting = nullptr;
  };
  struct Forget {
    State& state;
    ~Forget() { state.waiting = nullptr; }
  };
  const auto state = std::make_shared<State>();
  timer.expires_at(deadline);
  state->waiting = &timer;
  const Forget forget{*state};
  fd.async_wait(what, [state](error_code) {
    state->ready = true;
    if (state->waiting != nullptr) state->waiting->cancel();
  });
  auto [ec] = co_await timer.async_wait(as_result);
  const bool ready = state->ready;
  if (!ready) {
    error_code ignored;
    fd.cancel(ignored);
    // Not woken by readiness nor by time: the task is being cancelled.
    if (ec) throw boost::system::system_error(asio::error::operation_aborted);
  }
  co_return ready;
}

}  // namespace oceanid::proxy
