// What becomes of wireguard-go's own words, with a shell script in its place.

#include "tunnel/edge/userspace_backend.hpp"

#include "tests/fakes/run_task.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using routing::run_task;
using routing::TemporaryDirectory;

class UserspaceBackendTest : public testing::Test {
 protected:
  // What is logged while a device is brought up with a program that ends without having made one.
  std::string log_of(const std::string& script) {
    BackendOptions options;
    options.wireguard_go = directory_.path + "/program";
    options.run_dir = directory_.path + "/run";
    options.socket_dir = directory_.path + "/sockets";
    std::ofstream(options.wireguard_go) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(options.wireguard_go, std::filesystem::perms::owner_all);
    testing::internal::CaptureStderr();
    UserspaceBackend backend(io_.get_executor(), options, nullptr);
    DesiredDevice device;
    device.name = IfName::parse("oc-test").value();
    const auto ensured = run_task(io_, backend.ensure(std::move(device), PrivateKey()));
    static_cast<void>(run_task(io_, ended(backend)));
    std::string log = testing::internal::GetCapturedStderr();
    EXPECT_FALSE(ensured);
    if (!ensured) error_ = ensured.error().what;
    return log;
  }
  static awaitable<bool> ended(UserspaceBackend& backend) {
    co_await backend.stop();
    co_return true;
  }
  static std::size_t count(const std::string& text, std::string_view what) {
    std::size_t found = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
      ++found;
    return found;
  }

  asio::io_context io_;
  TemporaryDirectory directory_;
  std::string error_;  // of the last device
};

// It lives for a moment, or it is gone before anybody could read what it says: see below.
TEST_F(UserspaceBackendTest, ItsWordsAreInTheLogWithTheDevice) {
  const auto log = log_of("sleep 0.3; echo 'ERROR: (oc-test) no TUN here' >&2; echo 'and so I go'");
  EXPECT_EQ(count(log, "wireguard-go says"), 2U) << log;
  EXPECT_NE(log.find("ERROR: (oc-test) no TUN here"), std::string::npos) << log;
  EXPECT_NE(log.find("and so I go"), std::string::npos) << log;
  EXPECT_NE(log.find("device=oc-test"), std::string::npos) << log;
  EXPECT_NE(error_.find("its own words are in the log"), std::string::npos) << error_;
}

TEST_F(UserspaceBackendTest, OneThatEndsAtOnceIsHeardToo) {
  const auto log = log_of("echo 'no TUN here' >&2; exit 1");
  EXPECT_NE((log + error_).find("no TUN here"), std::string::npos) << log << error_;
}

// Errors of the data path can come with each packet.
TEST_F(UserspaceBackendTest, AFloodOfThemIsTenLinesASecond) {
  const auto begin = std::chrono::steady_clock::now();
  const auto log =
      log_of("sleep 0.3; i=0; while [ $i -lt 100 ]; do echo trouble >&2; i=$((i + 1)); done");
  const auto seconds =
      std::chrono::floor<std::chrono::seconds>(std::chrono::steady_clock::now() - begin);
  EXPECT_GE(count(log, "trouble"), 10U) << log;
  EXPECT_LE(count(log, "trouble"), 10U * (static_cast<std::size_t>(seconds.count()) + 2)) << log;
}

}  // namespace
}  // namespace oceanid::tunnel
