#pragma once
// The launcher: a small process that netd forks before it gives up its power. It keeps what
// starting an unprivileged child takes (SETUID, SETGID, SETPCAP), touches no network, and starts a
// worker or a transport whenever netd asks, so that they can be restarted long after netd itself
// has become harmless. It ends when netd ends. Each child is a fresh execution of the program that
// netd hands over as a descriptor: a clean address space, the binary that netd itself runs (also
// after an upgrade), and no path that the child's account would have to be able to walk.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <string_view>

namespace oceanid::process {

// The hidden command lines of children: `oceanid worker-process root|user`, the channel as
// descriptor 3.
inline constexpr const char* worker_command = "worker-process";
inline constexpr const char* transport_command = "transport-process";
inline constexpr int child_channel_fd = 3;

inline constexpr std::string_view worker_kind = "worker";
inline constexpr std::string_view transport_kind = "transport";

// Forks the launcher and returns netd's end of its channel. Call while the process has one thread,
// no event loop and no descriptor that the launcher must not hold.
Result<UniqueFd> fork_launcher();

}  // namespace oceanid::process
