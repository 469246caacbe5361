#pragma once
// How much a TCP socket of the shim holds unsent. In a file of its own: the kernel's description of
// TCP_INFO and the C library's exclude each other.

namespace oceanid::tunnel {

// The options of a connection that carries datagrams: small segments at once, dead after 3 s
// without an acknowledgement, BBR where this process may choose it.
void tune_for_datagrams(int fd);

// Lets the socket hold what the connection delivers in 50 ms, within 16 and 128 KiB: what waits in
// the kernel can no longer be dropped for being late. Call it about once a second.
void limit_backlog(int fd);

}  // namespace oceanid::tunnel
