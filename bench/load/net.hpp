#pragma once
// The few system calls a load generator needs, behind RAII: a socket, an epoll loop, a clock and a
// block of bytes in memory that sendfile(2) can send. Own loop instead of Asio on purpose: the
// generator must not share code, and therefore faults or costs, with the proxy that it measures.
// IPv4 only (the benchmark lives on 127.0.0.0/8). One thread; nothing here is thread-safe.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace oceanid::bench {

using Clock = std::chrono::steady_clock;

// Owns a file descriptor; closing it also takes it out of every epoll set.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor() { close(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void close();

 private:
  int fd_ = -1;
};

// Told what epoll saw on the one descriptor it was registered with. It may destroy itself in the
// call.
class Handler {
 public:
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  virtual ~Handler() = default;
  virtual void on_events(std::uint32_t events) = 0;
};

class Poller {
 public:
  static Result<Poller> make();
  Result<void> add(int fd, std::uint32_t events, Handler& handler);
  Result<void> change(int fd, std::uint32_t events, Handler& handler);
  // Handles what is ready; waits at most `limit` for it (rounded up to a millisecond).
  Result<void> poll(Clock::duration limit);

 private:
  explicit Poller(Descriptor epoll) : epoll_(std::move(epoll)) {}
  Descriptor epoll_;
};

// Non-blocking, listening, SO_REUSEADDR. Port 0 lets the kernel choose; `bound_port` tells which.
Result<Descriptor> listen_on(const SocketAddress& address);
Result<std::uint16_t> bound_port(int fd);

// Starts a non-blocking connect from `source` (any port of it); completion shows as writability.
Result<Descriptor> start_connect(const IpAddress& source, const SocketAddress& target);

// One MiB of noise in a memfd, first byte 'U' (see target.hpp): a source that costs the sender no
// copy.
inline constexpr std::size_t kNoiseBytes = std::size_t{1} << 20;
Result<Descriptor> make_noise();

// Sends up to 256 KiB of noise beginning at `offset`, which it moves on. Bytes sent, or -1 with
// errno.
std::ptrdiff_t send_noise(int fd, int noise, std::size_t& offset);

// Takes and forgets up to 1 MiB. Without `copy` the kernel drops it (MSG_TRUNC) and the receiver
// pays for no copy. Bytes, 0 at the end of the stream, -1 with errno.
std::ptrdiff_t discard(int fd, bool copy);

// Soft limit of open files up to the hard one, SIGPIPE ignored: what every mode of the program
// needs.
void prepare_process();

// User and system time of this process so far.
double cpu_seconds();

double seconds(Clock::duration duration);

}  // namespace oceanid::bench
