#include "gateway/process/run.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/config/load.hpp"
#include "gateway/process/control.hpp"
#include "gateway/process/host_check.hpp"
#include "gateway/process/launcher.hpp"
#include "gateway/process/logging.hpp"
#include "gateway/process/netd.hpp"
#include "gateway/process/privilege.hpp"
#include "gateway/process/service_manager.hpp"
#include "gateway/process/state_files.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t log_queue_lines = 512;

// Each tunnel takes two descriptors, four while it splices: take all that we may have.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
    log::warn("gateway", "cannot raise the limit of open files");
}

Result<void> give_up_power(const Config& config) {
  std::vector<cap_value_t> kept;
  if (needs_privileges(config)) {
    if (!has_capability(CAP_NET_ADMIN) || !has_capability(CAP_NET_RAW))
      return fail(
          Errc::permission,
          "tunnel, routing, serve_exit and intercept need CAP_NET_ADMIN and CAP_NET_RAW: run as "
          "root, or grant them (systemd: CapabilityBoundingSet=, Kubernetes: capabilities.add)");
  }
  // Exits alone want tables of their own; without power their sockets are still bound.
  if (needs_privileges(config) || !config.exits.empty()) kept = {CAP_NET_ADMIN, CAP_NET_RAW};
  return keep_capabilities(kept);
}

// Where a former self left the launcher's channel.
constexpr const char* launcher_variable = "OCEANID_LAUNCHER_FD";

// After an upgrade the launcher of before goes on: it alone still may change accounts.
Result<UniqueFd> inherited_or_new_launcher() {
  const char* text = std::getenv(launcher_variable);
  const auto number = text == nullptr ? std::nullopt : parse_decimal(text, 1 << 20);
  ::unsetenv(launcher_variable);
  if (!number) return fork_launcher();
  UniqueFd fd(static_cast<int>(*number));
  if (::fcntl(fd.get(), F_SETFD, FD_CLOEXEC) != 0) return fork_launcher();
  return fd;
}

// The path of our program, before somebody replaces the file behind it.
std::string own_program() {
  std::array<char, 4096> path{};
  const ssize_t n = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
  return n > 0 ? std::string(path.data(), static_cast<std::size_t>(n))
               : std::string("/proc/self/exe");
}

// The binary on disk takes over with our listening sockets (LISTEN_FDS from descriptor 3 on).
[[noreturn]] void become_new_binary(const std::string& program, const ListenerSet& listeners,
                                    int launcher, const std::string& config_file) {
  // Everything moves clear of 3… before anything is put there.
  const int clear = STDERR_FILENO + 1 + static_cast<int>(listeners.sockets().size());
  const int kept_launcher = ::fcntl(launcher, F_DUPFD, clear);  // without close-on-exec
  std::vector<int> moved;
  std::string names;
  for (const auto& [key, fd] : listeners.sockets()) {
    moved.push_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, clear));
    names += (names.empty() ? "" : ":") + store_name(key);
  }
  int next = STDERR_FILENO + 1;
  for (const int fd : moved)
    ::dup2(fd, next++);  // dup2 leaves close-on-exec off
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(moved.size()).c_str(), 1);
  ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
  std::vector<const char*> arguments = {"oceanid", "run"};
  if (!config_file.empty()) arguments.insert(arguments.end(), {"-c", config_file.c_str()});
  arguments.push_back(nullptr);
  ::setenv(launcher_variable, std::to_string(kept_launcher).c_str(), 1);
  ::execv(program.c_str(), const_cast<char* const*>(arguments.data()));
  log::error("gateway", "the new binary cannot be executed", {{"error", std::strerror(errno)}});
  log::flush(1s);
  std::_Exit(1);  // our loop's own descriptors lie under the ones above
}

}  // namespace

const char* version() {
  return OCEANID_VERSION;
}

int run_gateway(const std::string& config_file) {
  std::signal(SIGPIPE, SIG_IGN);
  LoadedConfig loaded = load_config(config_file);
  for (const auto& problem : loaded.problems)
    fmt::print(stderr, "{}\n", problem.to_string(loaded.file));
  if (!loaded.config) return 2;
  ConfigMemory memory(loaded.config->state_dir);
  StartConfig start = choose_start(std::move(loaded), memory);
  const Config& config = *start.loaded.config;
  configure_log(config.log, "netd");
  if (const auto& folder = config.run_dir;
      folder && gateway_answers(*folder + "/" + std::string(control_socket_name))) {
    // Before any socket is opened: ports are shared (SO_REUSEPORT), and connections that reach a
    // process about to end would be lost.
    log::error("gateway",
               "another gateway already runs here; stop it first, or give this one its own run_dir",
               {{"run_dir", *folder}});
    return 1;
  }
  raise_descriptor_limit();
  if (config.tunnel) forbid_core_files();
  const std::string program = own_program();

  // In this order: the launcher, which must not hold a socket; the sockets of a former life and new
  // ones; then the power goes.
  const auto wanted = wanted_listeners(config, core_count(config));
  ListenerSet listeners;
  for (const auto& name : listeners.adopt_inherited(wanted))
    ServiceManager().forget(name);
  auto launcher = inherited_or_new_launcher();
  if (!launcher) {
    log::error("gateway", launcher.error().what);
    return 1;
  }
  if (auto opened = listeners.open(wanted); !opened) {
    log::error("gateway", opened.error().what);
    return 1;
  }
  if (auto kept = give_up_power(config); !kept) {
    log::error("gateway", kept.error().what);
    return kept.error().code == Errc::permission ? 2 : 1;
  }
  warn_about_host(config);
  ::prctl(PR_SET_NAME, "oceanid-netd");
  log::write_in_background(log_queue_lines);

  const bool privileged = has_capability(CAP_NET_ADMIN) && has_capability(CAP_NET_RAW);
  asio::io_context io(1);
  Netd netd(io, std::move(start), std::move(memory), std::move(*launcher), std::move(listeners),
            privileged, program);
  netd.start();
  io.run();
  log::flush(1s);
  if (netd.upgrade_requested()) {
    become_new_binary(program, netd.listeners(), netd.launcher_fd(), config_file);
  }
  // Not fflush(): it would wait for the lock of a standard error that nobody reads. Cancelled
  // coroutines may still refer to each other's owners; the kernel frees what is left.
  std::_Exit(netd.exit_code());
}

}  // namespace oceanid::process
