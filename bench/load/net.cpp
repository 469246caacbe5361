#include "bench/load/net.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

namespace oceanid::bench {
namespace {

sockaddr_in to_sockaddr(const IpAddress& address, std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(port);
  std::memcpy(&result.sin_addr, address.bytes().data(), sizeof result.sin_addr);
  return result;
}

// The socket API takes every address family through this one pointer type.
const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<Descriptor> tcp_socket() {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) {
    return fail_errno("socket");
  }
  return socket;
}

void set_option(int fd, int level, int name) {
  const int on = 1;
  // Each of these options is a refinement; without it the figures are worse, never wrong.
  static_cast<void>(::setsockopt(fd, level, name, &on, sizeof on));
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::close() {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

Result<Poller> Poller::make() {
  Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) {
    return fail_errno("epoll_create1");
  }
  return Poller(std::move(epoll));
}

Result<void> Poller::add(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{.events = events, .data = {.ptr = &handler}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail_errno("epoll_ctl add");
  }
  return {};
}

Result<void> Poller::change(int fd, std::uint32_t events, Handler& handler) {
  epoll_event event{.events = events, .data = {.ptr = &handler}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    return fail_errno("epoll_ctl change");
  }
  return {};
}

Result<void> Poller::poll(Clock::duration limit) {
  std::array<epoll_event, 256> ready;
  const auto wait =
      std::chrono::ceil<std::chrono::milliseconds>(std::max(limit, Clock::duration{}));
  const int count = ::epoll_wait(epoll_.get(), ready.data(), static_cast<int>(ready.size()),
                                 static_cast<int>(wait.count()));
  if (count < 0 && errno != EINTR) {
    return fail_errno("epoll_wait");
  }
  // A handler has one descriptor, so it appears at most once per batch and may go away in its turn.
  for (int i = 0; i < count; ++i) {
    const auto& event = ready[static_cast<std::size_t>(i)];
    static_cast<Handler*>(event.data.ptr)->on_events(event.events);
  }
  return {};
}

Result<Descriptor> listen_on(const SocketAddress& address) {
  auto socket = tcp_socket();
  if (!socket) {
    return socket;
  }
  set_option(socket->get(), SOL_SOCKET, SO_REUSEADDR);
  const sockaddr_in name = to_sockaddr(address.address, address.port);
  if (::bind(socket->get(), generic(name), sizeof name) != 0) {
    return fail_errno("bind " + address.to_string());
  }
  if (::listen(socket->get(), SOMAXCONN) != 0) {
    return fail_errno("listen " + address.to_string());
  }
  return socket;
}

Result<std::uint16_t> bound_port(int fd) {
  sockaddr_in name{};
  socklen_t length = sizeof name;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    return fail_errno("getsockname");
  }
  return ntohs(name.sin_port);
}

Result<Descriptor> start_connect(const IpAddress& source, const SocketAddress& target) {
  auto socket = tcp_socket();
  if (!socket) {
    return socket;
  }
  set_option(socket->get(), IPPROTO_TCP, TCP_NODELAY);
  // The port is then chosen in connect(), per destination: 28,000 for each pair of addresses and
  // not 28,000 for each source address.
  set_option(socket->get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  const sockaddr_in from = to_sockaddr(source, 0);
  if (::bind(socket->get(), generic(from), sizeof from) != 0) {
    return fail_errno("bind " + source.to_string());
  }
  const sockaddr_in to = to_sockaddr(target.address, target.port);
  if (::connect(socket->get(), generic(to), sizeof to) != 0 && errno != EINPROGRESS) {
    return fail_errno("connect " + target.to_string());
  }
  return socket;
}

Result<Descriptor> make_noise() {
  Descriptor file(::memfd_create("oceanid-load", MFD_CLOEXEC));
  if (!file) {
    return fail_errno("memfd_create");
  }
  std::vector<std::uint8_t> bytes(kNoiseBytes);
  std::uint32_t state =
      2463534242U;  // xorshift32 (Marsaglia): incompressible enough, same every run
  for (auto& byte : bytes) {
    state ^= state << 13U;
    state ^= state >> 17U;
    state ^= state << 5U;
    byte = static_cast<std::uint8_t>(state);
  }
  bytes.front() = 'U';
  if (::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
    return fail_errno("write to memfd");
  }
  return file;
}

std::ptrdiff_t send_noise(int fd, int noise, std::size_t& offset) {
  constexpr std::size_t kChunk = std::size_t{256} << 10;
  auto position = static_cast<off_t>(offset);
  const auto sent = ::sendfile(fd, noise, &position, std::min(kChunk, kNoiseBytes - offset));
  if (sent > 0) {
    offset = static_cast<std::size_t>(position) % kNoiseBytes;
  }
  return sent;
}

std::ptrdiff_t discard(int fd, bool copy) {
  constexpr std::size_t kMost = std::size_t{1} << 20;
  if (!copy) {
    return ::recv(fd, nullptr, kMost, MSG_TRUNC);
  }
  thread_local std::vector<std::byte> buffer(kMost);
  return ::recv(fd, buffer.data(), buffer.size(), 0);
}

void prepare_process() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &files));
  }
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
}

double cpu_seconds() {
  rusage usage{};
  static_cast<void>(::getrusage(RUSAGE_SELF, &usage));
  const auto total = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return total(usage.ru_utime) + total(usage.ru_stime);
}

double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace oceanid::bench
