#include "gateway/base/runtime/memory_file.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "routing/edge/nft_runner.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/format.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

constexpr std::size_t bytes_per_second = 65536;
constexpr std::size_t most_words = 4096;  // of nft's complaint that we repeat

std::string beginning_of(const UniqueFd& file) {
  std::string out(most_words, '\0');
  const auto count = ::pread(file.get(), out.data(), out.size(), 0);
  out.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  while (out.ends_with('\n'))
    out.pop_back();
  return out;
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  for (const char* folder : {"/usr/sbin/", "/sbin/", "/usr/local/sbin/", "/usr/bin/"})
    if (const std::string path = folder + name; ::access(path.c_str(), X_OK) == 0) return path;
  return name;
}

// A child that is killed and reaped when it is abandoned.
class Child {
 public:
  Child(pid_t pid, UniqueFd handle) : pid_(pid), handle_(std::move(handle)) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), handle_(std::move(other.handle_)) {}
  Child& operator=(Child&&) = delete;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);  // not reaped yet, so the number is still its own
    static_cast<void>(reap());
  }

  int handle() const { return handle_.get(); }
  std::uint32_t pid() const { return static_cast<std::uint32_t>(pid_); }
  // Returns at once after the handle became readable. The exit code, 128 + signal when killed.
  Result<int> reap() {
    siginfo_t info{};
    int done = 0;
    do {
      done = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED);
    } while (done < 0 && errno == EINTR);
    pid_ = 0;
    if (done < 0) return fail_errno("waiting for nft");
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  }

 private:
  pid_t pid_;
  UniqueFd handle_;
};

class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  // Own process group: Ctrl-C on our terminal ends us, not a transaction in the middle.
  void prepare(int input, int output) {
    posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions_, output, STDERR_FILENO);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(
        &attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  posix_spawn_file_actions_t* actions() { return &actions_; }
  posix_spawnattr_t* attributes() { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

Result<Child> spawn(const std::string& program, std::vector<std::string> arguments, int input,
                    int output) {
  SpawnSettings settings;
  settings.prepare(input, output);
  const std::string path = find_program(program);
  arguments.insert(arguments.begin(), program);
  std::vector<char*> argv;
  for (std::string& argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, path.c_str(), settings.actions(), settings.attributes(),
                                   argv.data(), environ);
  if (error == ENOENT)
    return fail(Errc::not_found,
                fmt::format("the program {} is missing: apt-get install nftables", program));
  if (error != 0) return fail_errno("starting " + path, error);
  UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const int opened = errno;
  const bool usable = static_cast<bool>(handle);
  Child child(pid, std::move(handle));
  if (!usable) return fail_errno("pidfd_open", opened);
  ::fcntl(child.handle(), F_SETFD, FD_CLOEXEC);
  return child;
}

// True when the child ended in time.
awaitable<bool> ended_within(asio::posix::stream_descriptor& handle, std::chrono::seconds limit) {
  using boost::asio::experimental::awaitable_operators::operator||;
  const auto winner = co_await (
      handle.async_wait(asio::posix::stream_descriptor::wait_read, as_result) || sleep_for(limit));
  co_return winner.index() == 0;
}

}  // namespace

NftRunner::NftRunner(asio::any_io_executor executor, NftOptions options)
    : executor_(std::move(executor)), options_(std::move(options)) {}

awaitable<Result<void>> NftRunner::apply(std::string text) {
  const std::vector<std::string> check{"-c", "-f", "-"};
  const std::vector<std::string> commit{"-f", "-"};
  if (text != committed_) {
    auto checked = co_await run(check, text);
    if (!checked)
      co_return std::unexpected(std::move(checked.error()).context("checking the nft text"));
  }
  auto done = co_await run(commit, text);
  if (done) committed_ = std::move(text);
  co_return done;
}

awaitable<Result<void>> NftRunner::run(std::vector<std::string> arguments,
                                       const std::string& text) {
  const bool commits = arguments.front() != "-c";
  auto input = memory_file(text);
  if (!input) co_return std::unexpected(std::move(input.error()));
  auto output = memory_file({});
  if (!output) co_return std::unexpected(std::move(output.error()));
  auto child = spawn(options_.program, std::move(arguments), input->get(), output->get());
  if (!child) co_return std::unexpected(std::move(child.error()));
  // Notices of its commit are read by this thread later, so it is told in time.
  if (on_child_ && commits) on_child_(child->pid());

  const int duplicate = ::fcntl(child->handle(), F_DUPFD_CLOEXEC, 0);
  if (duplicate < 0) co_return fail_errno("duplicating a process handle");
  asio::posix::stream_descriptor handle(executor_, duplicate);
  const auto limit = options_.timeout + std::chrono::seconds(text.size() / bytes_per_second);
  if (!co_await ended_within(handle, limit))
    co_return fail(Errc::timeout,
                   fmt::format("nft did not end within {} s and was killed", limit.count()));
  const auto code = child->reap();
  if (!code) co_return std::unexpected(code.error());
  if (*code == 0) co_return Result<void>{};
  const std::string words = beginning_of(*output);
  co_return fail(words.find("Operation not permitted") != std::string::npos
                     ? Errc::permission
                     : Errc::invalid_argument,
                 fmt::format("nft ended with {}: {}", *code, words));
}

}  // namespace oceanid::routing
