#include "gateway/process/launcher.hpp"

#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "gateway/ipc/channel.hpp"
#include "gateway/ipc/messages.hpp"
#include "gateway/process/privilege.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::process {
namespace {

std::string describe_exit(int status) {
  if (WIFEXITED(status)) return fmt::format("exit code {}", WEXITSTATUS(status));
  return fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)));
}

void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2})
    std::signal(number, SIG_DFL);
}

// A child's first steps, still with the launcher's power. Never returns.
[[noreturn]] void execute_child(const char* command, UniqueFd channel, UniqueFd program,
                                const std::string& user, bool root) {
  // Nothing of the launcher's comes along: the channel becomes descriptor 3, the program 4.
  const int moved_channel = ::fcntl(channel.get(), F_DUPFD, child_channel_fd + 2);
  const int moved_program = ::fcntl(program.get(), F_DUPFD, child_channel_fd + 2);
  ::dup2(moved_channel, child_channel_fd);
  ::dup3(moved_program, child_channel_fd + 1, O_CLOEXEC);
  ::close_range(child_channel_fd + 2, ~0U, 0);
  reset_signals();
  // A terminal's ^C and hang-up go to the whole group; children are told to end by netd alone.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  if (root) {
    auto account = worker_account(user);
    if (!account) {
      log::error("gateway", "a child cannot start", {{"error", account.error().what}});
      ::_exit(2);
    }
    if (account->second)
      log::warn("gateway", "the account does not exist; using nobody", {{"proxy.user", user}});
    if (auto done = become(account->first); !done) {
      log::error("gateway", "a child cannot give up its privileges",
                 {{"error", done.error().what}});
      ::_exit(1);
    }
  } else if (auto done = forbid_new_privileges(); !done) {
    ::_exit(1);
  }
  std::array<const char*, 4> arguments = {"oceanid", command, root ? "root" : "user", nullptr};
  ::execveat(child_channel_fd + 1, "", const_cast<char* const*>(arguments.data()), environ,
             AT_EMPTY_PATH);
  log::error("gateway",
             "a child cannot be executed; is the program readable and executable for "
             "everybody (chmod 755)?",
             {{"error", std::strerror(errno)}});
  ::_exit(126);
}

class Launcher {
 public:
  Launcher(asio::io_context& io, UniqueFd socket)
      : io_(io),
        channel_(io.get_executor(), std::move(socket)),
        children_(io, SIGCHLD),
        tasks_(io.get_executor()),
        root_(running_as_root()) {}

  void start() {
    tasks_.spawn("launcher requests", requests());
    tasks_.spawn("launcher reaper", reap());
    tasks_.spawn("launcher writer", channel_.write_loop());
  }

 private:
  awaitable<void> requests() {
    for (;;) {
      auto frame = co_await channel_.receive();
      if (!frame) break;  // netd is gone: so are we; children see the same and end
      if (frame->type != ipc::start_child_frame || frame->fds.size() != 2) break;
      auto order = ipc::decode<ipc::StartChild>(frame->body, "start");
      if (!order) break;
      fork_child(std::move(frame->fds[0]), std::move(frame->fds[1]), *order);
    }
    ::_exit(0);
  }

  void fork_child(UniqueFd socket, UniqueFd program, const ipc::StartChild& order) {
    const char* command = order.kind == transport_kind ? transport_command : worker_command;
    io_.notify_fork(asio::io_context::fork_prepare);
    const pid_t pid = ::fork();
    if (pid == 0) execute_child(command, std::move(socket), std::move(program), order.user, root_);
    io_.notify_fork(asio::io_context::fork_parent);
    if (pid < 0) {
      log::error("gateway", "cannot fork a child", {{"error", std::strerror(errno)}});
      return;
    }
    send(ipc::started_frame, boost::json::value_from(ipc::Started{order.kind, pid}));
  }

  awaitable<void> reap() {
    for (;;) {
      auto [ec, number] = co_await children_.async_wait(as_result);
      if (ec) co_return;
      int status = 0;
      for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;)
        send(ipc::exited_frame, boost::json::value_from(ipc::Exited{pid, describe_exit(status)}));
    }
  }

  void send(std::string_view type, boost::json::value body) {
    ipc::Frame frame;
    frame.type = type;
    frame.body = std::move(body);
    if (!channel_.send(std::move(frame))) ::_exit(0);
  }

  asio::io_context& io_;
  ipc::Channel channel_;
  asio::signal_set children_;
  TaskGroup tasks_;
  bool root_;
};

[[noreturn]] void launcher_main(UniqueFd socket) {
  // Nothing of netd's stays open here, listening sockets of a former life least of all.
  constexpr int kept_fd = STDERR_FILENO + 1;
  if (socket.get() != kept_fd) {
    ::dup2(socket.get(), kept_fd);
    socket.reset(kept_fd);
  }
  ::close_range(kept_fd + 1, ~0U, 0);
  ::fcntl(kept_fd, F_SETFD, FD_CLOEXEC);
  ::unsetenv("NOTIFY_SOCKET");  // only netd speaks to the service manager
  ::prctl(PR_SET_NAME, "oceanid-launch");
  // netd decides when things end; a terminal's signals are for it.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  if (running_as_root()) {
    if (auto kept = keep_capabilities({CAP_SETUID, CAP_SETGID, CAP_SETPCAP}); !kept) {
      log::error("gateway", "the launcher cannot give up its privileges",
                 {{"error", kept.error().what}});
      ::_exit(1);
    }
  }
  asio::io_context io(1);
  Launcher launcher(io, std::move(socket));
  launcher.start();
  io.run();
  ::_exit(0);
}

}  // namespace

Result<UniqueFd> fork_launcher() {
  auto pair = ipc::make_socketpair();
  if (!pair) return std::unexpected(std::move(pair.error()));
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("fork the launcher");
  if (pid == 0) {
    pair->first.reset();
    launcher_main(std::move(pair->second));
  }
  return std::move(pair->first);
}

}  // namespace oceanid::process
