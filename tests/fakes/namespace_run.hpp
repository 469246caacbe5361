#pragma once
// Runs the body of a test in a child process with network and mount namespaces of its own, so that
// the host's rules, routes and tables are never touched. Expectations that fail in the child are
// printed there and fail the test here. Skips, with the reason, when the namespaces cannot be made.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::routing {

inline constexpr int namespace_refused = 77;

// Exit status of the child: 0 well, 1 an expectation failed, 77 no namespaces, else it crashed.
inline int run_in_namespace(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) {
    if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) ::_exit(namespace_refused);
    body();
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The reason of a test that leaves itself out after namespace_refused; the summary prints it.
inline std::string why_no_namespace() {
  return ::geteuid() == 0 ? "this machine refuses unshare(CLONE_NEWNET)"
                          : "needs root for a network namespace";
}

// Output of a shell command; the command's failure fails the test.
inline std::string shell(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(("( " + command + " ) 2>&1").c_str(), "r");
  if (!pipe) return "popen failed";
  char buffer[4096];
  while (const auto count = std::fread(buffer, 1, sizeof(buffer), pipe))
    out.append(buffer, count);
  const int status = ::pclose(pipe);
  EXPECT_EQ(status, 0) << command << "\n" << out;
  return out;
}

}  // namespace oceanid::routing
