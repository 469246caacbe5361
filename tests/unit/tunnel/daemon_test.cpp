// The processes behind userspace devices, with shell scripts in wireguard-go's place, and who may
// listen on their sockets.

#include "tunnel/edge/daemon.hpp"

#include "tests/fakes/run_task.hpp"
#include "tunnel/edge/uapi_client.hpp"

#include <filesystem>
#include <fstream>

#include <boost/asio/local/stream_protocol.hpp>
#include <gmock/gmock.h>

#include <sys/resource.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using routing::run_task;
using routing::TemporaryDirectory;

class DaemonTest : public testing::Test {
 protected:
  std::string program(const std::string& script) {
    std::string path = directory_.path + "/program";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  StartedDaemon start(const std::string& script) {
    auto started = start_daemon(program(script), IfName::parse("oc-test").value());
    EXPECT_TRUE(started) << started.error().what;
    return std::move(*started);
  }

  asio::io_context io_;
  TemporaryDirectory directory_;
};

TEST_F(DaemonTest, TellsItsEnd) {
  const StartedDaemon daemon = start("sleep 0.2");
  EXPECT_TRUE(run_task(io_, wait_for_end(daemon.identity, 10s)));
  EXPECT_EQ(identify(daemon.identity.pid), std::nullopt);
}

// netd that is stopped reads no log; the tunnel must go on.
TEST_F(DaemonTest, IsNotHeldUpByALogThatNobodyReads) {
  const StartedDaemon daemon = start(
      "i=0; while [ $i -lt 400 ]; do echo trouble >&2; "
      "i=$((i + 1)); done; exit 0");
  EXPECT_TRUE(run_task(io_, wait_for_end(daemon.identity, 30s)));
  EXPECT_TRUE(run_task(io_, end_process(daemon.identity)));
}

TEST_F(DaemonTest, IsNotTakenForDeadWhenItCannotBeWatched) {
  const StartedDaemon daemon = start("exec sleep 60");
  EXPECT_FALSE(run_task(io_, wait_for_end(daemon.identity, 1ms)));
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool ended = run_task(io_, wait_for_end(daemon.identity, 1ms));
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_FALSE(ended);
  EXPECT_TRUE(run_task(io_, end_process(daemon.identity)));
}

TEST_F(DaemonTest, IsAskedForItsVersion) {
  const auto said = run_task(io_, ask_version(program("echo version of $1")));
  ASSERT_TRUE(said) << said.error().what;
  EXPECT_EQ(*said, "version of --version\n");
  const auto missing = run_task(io_, ask_version(directory_.path + "/nothing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
}

TEST_F(DaemonTest, IsEndedWhenItDoesNotAnswerForItsVersion) {
  const std::string mark = directory_.path + "/pid";
  const auto said = run_task(io_, ask_version(program("echo $$ > " + mark + "; exec sleep 60")));
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, Errc::timeout);
  pid_t pid = -1;
  std::ifstream(mark) >> pid;
  ASSERT_GT(pid, 0);
  EXPECT_EQ(identify(pid), std::nullopt);
}

TEST_F(DaemonTest, TellsNothingToSomebodyElsesSocket) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root for a listener of another account";
  const std::string path = directory_.path + "/oc-test.sock";
  asio::local::stream_protocol::acceptor stranger(io_);
  stranger.open();
  stranger.bind(path);
  constexpr uid_t nobody = 65534;
  ASSERT_EQ(::seteuid(nobody), 0);  // a listener's identity is that of the moment of listen()
  stranger.listen();
  ASSERT_EQ(::seteuid(0), 0);
  const auto answer = run_task(io_, uapi_exchange(path, "set=1\nprivate_key=00\n\n"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::permission);
  auto connection = stranger.accept();
  std::array<char, 16> received{};
  error_code ec;
  EXPECT_EQ(connection.read_some(asio::buffer(received), ec), 0U);
  EXPECT_EQ(ec, asio::error::eof);
}

}  // namespace
}  // namespace oceanid::tunnel
