#pragma once
// The launcher: a small process that netd forks before it gives up its power. It keeps what
// starting a worker takes (SETUID, SETGID, SETPCAP), touches no network, and starts a worker
// whenever netd asks, so that a worker can be restarted long after netd itself has become harmless.
// It ends when netd ends. Each worker is a fresh execution of the program that netd hands over as a
// descriptor: a clean address space, the binary that netd itself runs (also after an upgrade), and
// no path that the worker's account would have to be able to walk.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

namespace oceanid::process {

// The hidden command line of a worker: `oceanid worker-process root|user`, its channel as
// descriptor 3.
inline constexpr const char* worker_command = "worker-process";
inline constexpr int worker_channel_fd = 3;

// Forks the launcher and returns netd's end of its channel. Call while the process has one thread,
// no event loop and no descriptor that the launcher must not hold.
Result<UniqueFd> fork_launcher();

}  // namespace oceanid::process
