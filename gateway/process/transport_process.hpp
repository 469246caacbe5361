#pragma once
// The transport: the unprivileged process that carries WireGuard's packets in TLS where UDP is
// blocked, apart from the worker so that a worker's restart leaves tunnels alone. It opens no
// socket itself: netd gives it every one, connected to where it may go. It ends when netd
// disappears; WireGuard's sessions outlive it.

#include "gateway/base/runtime/unique_fd.hpp"

namespace oceanid::process {

// Exit codes: 0 netd is gone or wants another, 1 failed (also: still privileged).
int transport_main(UniqueFd channel, bool started_as_root);

}  // namespace oceanid::process
