#pragma once
// One wireguard-go process: started in a session of its own, without any of our descriptors, so
// that it lives on when we die; named by pid and start time, so that a recycled pid is never
// signalled.
// Lives on netd's event loop.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

namespace oceanid::tunnel {

struct ProcessIdentity {
  pid_t pid = -1;
  std::uint64_t start_time = 0;  // clock ticks since boot, field 22 of /proc/PID/stat
  bool operator==(const ProcessIdentity&) const = default;
};

// None when there is no such process (or only its corpse).
std::optional<ProcessIdentity> identify(pid_t pid);
// Whether its /proc/PID/comm is that of `program` (a path or a name).
bool runs_program(pid_t pid, const std::string& program);

// Text of the pid file: "PID START\n".
std::string to_text(const ProcessIdentity& identity);
std::optional<ProcessIdentity> parse_identity(std::string_view text);

struct StartedDaemon {
  ProcessIdentity identity;
  UniqueFd log;  // datagrams, one for each line the process writes to its standard error
};

// Runs `program -f NAME` (wireguard-go's command line).
Result<StartedDaemon> start_daemon(const std::string& program, const IfName& name);

// What `program --version` writes; what runs as process N is /proc/N/exe, whatever has been
// installed since.
awaitable<Result<std::string>> ask_version(std::string program);

// A descriptor that becomes readable when exactly this process ends; not_found when it is gone
// already.
Result<UniqueFd> watch(const ProcessIdentity& identity);

// Waits for the end; false when `limit` passed first, or when it cannot be watched. Reaps our own
// child, others belong to init.
awaitable<bool> wait_for_end(ProcessIdentity identity, std::chrono::nanoseconds limit);

// SIGTERM, then SIGKILL after two seconds. Ok when it is gone.
awaitable<Result<void>> end_process(ProcessIdentity identity);

}  // namespace oceanid::tunnel
