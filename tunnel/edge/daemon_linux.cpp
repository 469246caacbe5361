#include "gateway/base/runtime/memory_file.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/daemon.hpp"
#include "tunnel/edge/deadline.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {  // glibc 2.36 forgot to say so in this header
#include <sys/pidfd.h>
}

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto blind_pause = 200ms;
constexpr timeval log_patience{.tv_sec = 0, .tv_usec = 1000};

std::string proc_path(pid_t pid, std::string_view leaf) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(leaf);
}

// Field `index` (from 1) of /proc/PID/stat. The second field, the name in brackets, may hold spaces
// and brackets, so counting starts behind the last ')'.
std::optional<std::string_view> stat_field(std::string_view stat, unsigned index) {
  const std::size_t close = stat.rfind(')');
  if (close == std::string_view::npos) return std::nullopt;
  stat.remove_prefix(close + 1);
  for (unsigned field = 3;; ++field) {
    const std::size_t begin = stat.find_first_not_of(" \n");
    if (begin == std::string_view::npos) return std::nullopt;
    stat.remove_prefix(begin);
    const std::size_t end = std::min(stat.find_first_of(" \n"), stat.size());
    if (field == index) return stat.substr(0, end);
    stat.remove_prefix(end);
  }
}

// posix_spawn's two attribute objects with their destructors.
class SpawnPlan {
 public:
  SpawnPlan() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  int prepare(int log) {
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    const std::array results{
        ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0),
        ::posix_spawn_file_actions_adddup2(&actions_, log, 1),
        ::posix_spawn_file_actions_adddup2(&actions_, log, 2),
        ::posix_spawn_file_actions_addclosefrom_np(&actions_, 3),
        ::posix_spawnattr_setsigmask(&attributes_, &none),
        ::posix_spawnattr_setsigdefault(&attributes_, &all),
        ::posix_spawnattr_setflags(
            &attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)};
    for (const int result : results)
      if (result != 0) return result;
    return 0;
  }

  const posix_spawn_file_actions_t* actions() const { return &actions_; }
  const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

// What the process needs of our environment and no more.
std::vector<std::string> environment() {
  // The second one spares us its banner; we run it with -f anyway.
  std::vector<std::string> result{"LOG_LEVEL=error", "WG_PROCESS_FOREGROUND=1"};
  const char* path = std::getenv("PATH");
  result.push_back(std::string("PATH=") +
                   (path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  return result;
}

std::vector<char*> as_pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings)
    pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

awaitable<error_code> readable(UniqueFd descriptor) {
  asio::posix::stream_descriptor stream(co_await asio::this_coro::executor, descriptor.release());
  auto [ec] = co_await stream.async_wait(asio::posix::stream_descriptor::wait_read, as_result);
  co_return ec;
}

void reap(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) < 0 && errno == EINTR) {
  }
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto stat = read_small_file(proc_path(pid, "stat"), 4096);
  if (!stat) return std::nullopt;
  const auto state = stat_field(*stat, 3);
  const auto start = stat_field(*stat, 22);
  if (!state || !start || *state == "Z" || *state == "X") return std::nullopt;
  const auto ticks = parse_decimal(*start, UINT64_MAX);
  if (!ticks) return std::nullopt;
  return ProcessIdentity{pid, *ticks};
}

bool runs_program(pid_t pid, const std::string& program) {
  const auto comm = read_small_file(proc_path(pid, "comm"), 64);
  if (!comm) return false;
  // The kernel keeps 15 characters of the file's name.
  const std::string name = program.substr(program.rfind('/') + 1).substr(0, 15);
  return *comm == name + "\n";
}

std::string to_text(const ProcessIdentity& identity) {
  return std::to_string(identity.pid) + " " + std::to_string(identity.start_time) + "\n";
}

std::optional<ProcessIdentity> parse_identity(std::string_view text) {
  if (!text.ends_with('\n')) return std::nullopt;
  text.remove_suffix(1);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  const auto pid = parse_decimal(text.substr(0, space), INT32_MAX);
  const auto start = parse_decimal(text.substr(space + 1), UINT64_MAX);
  if (!pid || *pid == 0 || !start) return std::nullopt;
  return ProcessIdentity{static_cast<pid_t>(*pid), *start};
}

namespace {

// Both of its outputs go to `output`.
Result<pid_t> spawn(const std::string& program, std::vector<std::string> arguments,
                    const UniqueFd& output) {
  SpawnPlan plan;
  if (const int error = plan.prepare(output.get()); error != 0)
    return fail_errno("preparing to start " + program, error);
  std::vector<std::string> variables = environment();
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, program.c_str(), plan.actions(), plan.attributes(),
                                   as_pointers(arguments).data(), as_pointers(variables).data());
  if (error == ENOENT)
    return fail(Errc::not_found, program + " is not installed; run: apt-get install wireguard-go");
  if (error != 0) return fail_errno("starting " + program, error);
  return pid;
}

// What a process that has ended left unread.
std::string last_words(const UniqueFd& log) {
  std::array<char, 256> line{};
  std::string words;
  for (ssize_t size = 0; (size = ::recv(log.get(), line.data(), line.size(), MSG_DONTWAIT)) > 0;) {
    if (words.size() > 4 * line.size()) break;
    words += words.empty() ? ": " : "; ";
    words.append(line.data(), static_cast<std::size_t>(size));
    while (words.ends_with('\n'))
      words.pop_back();
  }
  return words;
}

}  // namespace

Result<StartedDaemon> start_daemon(const std::string& program, const IfName& name) {
  // Datagrams and not a pipe: writing to a pipe whose reader died ends a Go program by SIGPIPE, and
  // it must outlive us; a datagram socket answers ECONNREFUSED, which Go's logger ignores.
  std::array<int, 2> pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return fail_errno("creating a socket pair");
  StartedDaemon started;
  started.log = UniqueFd(pair[0]);
  const UniqueFd theirs(pair[1]);
  ::fcntl(started.log.get(), F_SETFL, O_NONBLOCK);
  // When we are stopped and read nothing, a full queue must cost it the line and not its workers.
  ::setsockopt(theirs.get(), SOL_SOCKET, SO_SNDTIMEO, &log_patience, sizeof log_patience);

  const auto pid = spawn(program, {program, "-f", name.str()}, theirs);
  if (!pid) return std::unexpected(pid.error());
  const auto identity = identify(*pid);
  if (!identity) {
    reap(*pid);
    return fail(Errc::io, program + " ended at once" + last_words(started.log));
  }
  started.identity = *identity;
  return started;
}

awaitable<Result<std::string>> ask_version(std::string program) {
  const auto output = memory_file({});
  if (!output) co_return std::unexpected(output.error());
  const auto pid = spawn(program, {program, "--version"}, *output);
  if (!pid) co_return std::unexpected(pid.error());
  const auto asked = identify(*pid);
  if (!asked) reap(*pid);  // it has ended already
  if (asked && !co_await wait_for_end(*asked, 2s)) {
    static_cast<void>(co_await end_process(*asked));
    co_return fail(Errc::timeout, program + " --version does not end");
  }
  co_return contents_of(*output);
}

Result<UniqueFd> watch(const ProcessIdentity& identity) {
  UniqueFd descriptor(::pidfd_open(identity.pid, 0));  // close-on-exec by definition
  if (!descriptor && errno == ESRCH) return fail(Errc::not_found, "the process is gone");
  if (!descriptor) return fail_errno("watching process " + std::to_string(identity.pid));
  // The descriptor holds on to one process: if that one is ours, it stays ours.
  if (identify(identity.pid) != identity) return fail(Errc::not_found, "the process is gone");
  return descriptor;
}

awaitable<bool> wait_for_end(ProcessIdentity identity, std::chrono::nanoseconds limit) {
  auto descriptor = watch(identity);
  if (descriptor) {
    const auto ended = co_await with_deadline(readable(std::move(*descriptor)), limit);
    if (!ended) co_return false;
  } else if (descriptor.error().code != Errc::not_found) {
    // Not being able to look (no descriptors left) is no end of the process; look again soon.
    co_await sleep_for(std::min<std::chrono::nanoseconds>(limit, blind_pause));
    co_return false;
  }
  reap(identity.pid);
  co_return true;
}

awaitable<Result<void>> end_process(ProcessIdentity identity) {
  for (const int signal : {SIGTERM, SIGKILL}) {
    const auto descriptor = watch(identity);
    if (!descriptor && descriptor.error().code == Errc::not_found) break;
    if (!descriptor) co_return std::unexpected(descriptor.error());
    if (::pidfd_send_signal(descriptor->get(), signal, nullptr, 0) != 0 && errno != ESRCH)
      co_return fail_errno("ending process " + std::to_string(identity.pid));
    // A stopped process does not see SIGTERM until it is continued.
    if (signal == SIGTERM) ::pidfd_send_signal(descriptor->get(), SIGCONT, nullptr, 0);
    if (co_await wait_for_end(identity, 2s)) co_return Result<void>();
  }
  reap(identity.pid);
  if (identify(identity.pid) == identity)
    co_return fail(Errc::timeout, "process " + std::to_string(identity.pid) + " does not end");
  co_return Result<void>();
}

}  // namespace oceanid::tunnel
