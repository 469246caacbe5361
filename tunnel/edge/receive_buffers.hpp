#pragma once
// Room for what arrives while wireguard-go does not read. It leaves its UDP sockets with the
// kernel's default (net.core.rmem_default, 208 KiB, which is 92 packets of 1500 bytes: 2.5 ms at
// 400 Mbit/s); versions since 2023 ask for more themselves. Measured in the lab, a download of
// 8 Mbit/s beside another lab on two processors: 2 % of the packets were dropped there.
// The kernel's WireGuard has no such queue.

#include "gateway/base/error.hpp"
#include "tunnel/edge/daemon.hpp"

#include <cstdint>
#include <set>

namespace oceanid::tunnel {

// Gives each UDP socket of the process, which runs in our network namespace, a receive buffer of at
// least `bytes` (SO_RCVBUFFORCE: above net.core.rmem_max too). `known`: inodes of sockets that need
// not be looked at again, kept by the caller for this process; sockets come and go when the link is
// brought up or the port changes. Errors: permission (pidfd_getfd(2) is an act of ptrace),
// not_found (the process is gone). Does not block; costs some twenty readlink(2).
Result<void> widen_receive_buffers(const ProcessIdentity& process, int bytes,
                                   std::set<std::uint64_t>& known);

}  // namespace oceanid::tunnel
