#include "routing/edge/program_linux.hpp"

#include "gateway/base/runtime/memory_file.hpp"

#include <cerrno>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

std::string path_of(const std::string& program) {
  for (const auto* folder : {"/usr/sbin/", "/sbin/"})
    if (::access((folder + program).c_str(), X_OK) == 0) return folder + program;
  return program;
}

}  // namespace

Result<Ran> run_program(const std::vector<std::string>& words, std::string_view input) {
  auto in = memory_file(input);
  auto out = memory_file({});
  if (!in) return std::unexpected(std::move(in.error()));
  if (!out) return std::unexpected(std::move(out.error()));
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in->get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, out->get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<std::string> copy = words;
  std::vector<char*> arguments;
  for (std::string& word : copy)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int refused = ::posix_spawnp(&child, path_of(words.front()).c_str(), &actions, nullptr,
                                     arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (refused != 0) return fail_errno("running " + words.front(), refused);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR) return fail_errno("waiting for " + words.front());
  return Ran{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents_of(*out)};
}

}  // namespace oceanid::routing
