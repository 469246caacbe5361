#pragma once
// Stream sockets as this proxy uses them: raw descriptors and direct system calls, Asio only for
// readiness. That keeps buffers out of idle connections and lets the relay use splice(2).
// Functions return errno values (0: no error) where the caller has to tell cases apart.

#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include <sys/socket.h>

namespace oceanid::proxy {

// Bound to the one io_context executor: the type-erased default costs memory in every connection.
using LoopExecutor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<LoopExecutor>;
using SteadyClock = std::chrono::steady_clock;
using Timer = asio::basic_waitable_timer<SteadyClock, asio::wait_traits<SteadyClock>, LoopExecutor>;

// IPv4-mapped addresses come out as IPv4; 0.0.0.0:0 when it is of another family.
SocketAddress plain_address(const NativeAddress& native);

// TCP_NODELAY, keepalive 60/10/3 (a NAT's patience, then dead within 90 s) and TCP_USER_TIMEOUT
// 30 s. Accepted sockets inherit all of them from their listening socket (Linux copies the parent's
// options), so for clients this is done once per listener.
void tune(int fd);

std::expected<UniqueFd, int> open_stream(Family family);  // non-blocking, close-on-exec
int bind_to_device(int fd, const std::string& device);    // SO_BINDTODEVICE
int start_connect(int fd, const SocketAddress& address);  // EINPROGRESS is the usual answer
int take_error(int fd);                                   // SO_ERROR
void reset_on_close(int fd);                              // close() will send RST (SO_LINGER 0)

void stop_reading(int fd);  // who waits for bytes sees an end of stream, what has come stays
void finish_sending(
    int fd);  // shutdown(SHUT_WR); fails only when the peer has reset: reading tells

struct Accepted {
  UniqueFd fd;
  SocketAddress peer;
};
std::expected<Accepted, int> accept_from(int listening);
SocketAddress local_address(int fd);

// Makes a descriptor that an event loop can wait for.
Descriptor watch(asio::io_context& io, UniqueFd fd);

// ::send without SIGPIPE; bytes sent or -errno.
ssize_t send_some(int fd, std::string_view bytes);
// ::recv; bytes read, 0 at the end, or -errno.
ssize_t recv_some(int fd, char* buffer, std::size_t size);
// The same without taking the bytes out of the socket.
ssize_t peek_some(int fd, char* buffer, std::size_t size);

// Waits for readiness at most until `deadline`: true when ready (or when reading would report an
// error), false when the time is over. `fd` and `timer` stay with the caller.
awaitable<bool> wait_until_ready(Descriptor& fd, Descriptor::wait_type what, Timer& timer,
                                 SteadyClock::time_point deadline);

}  // namespace oceanid::proxy
