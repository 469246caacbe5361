#pragma once
// The sockets that the transport process is given: with netd's power (mark, buffers beyond the
// system's limit), and connected, or connecting, before they leave. Nothing here waits.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

namespace oceanid::process {

// A connect(2) that has begun; whoever gets the socket sees how it ends.
Result<UniqueFd> begin_tcp(const SocketAddress& to, const Mark& mark);
Result<UniqueFd> connected_udp(const SocketAddress& to, const Mark& mark);

// On 127.0.0.1 with a port of the kernel's choice, to send to our own WireGuard and hear from it.
Result<UniqueFd> loopback_udp();
// Another time as well: WireGuard's device may have got another port.
Result<void> connect_loopback(int fd, std::uint16_t port);
Result<std::uint16_t> port_of(int fd);

// Of both families; tells for each datagram which of our addresses it came to.
Result<UniqueFd> responder_udp(std::uint16_t port, const Mark& mark);

}  // namespace oceanid::process
