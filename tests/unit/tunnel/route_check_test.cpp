#include "tunnel/edge/route_check_linux.hpp"

#include <gtest/gtest.h>

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

SocketAddress at(const char* address) {
  return {*IpAddress::parse(address), 51820};
}

TEST(RouteCheck, LoopbackIsAlwaysThere) {
  EXPECT_TRUE(has_route(at("127.0.0.1"), {0, 0}));
}

// An empty network namespace has no route to anywhere: the state of IPv6 behind many home routers.
TEST(RouteCheck, NoRouteIsSeenWithoutSending) {
  constexpr int cannot = 77;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWNET) != 0)
      ::_exit(cannot);
    const bool four = has_route(at("203.0.113.1"), {0, 0});
    const bool six = has_route(at("2001:db8::1"), {0, 0});
    ::_exit((four ? 1 : 0) + (six ? 2 : 0));
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == cannot) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace oceanid::tunnel
