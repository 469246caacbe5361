#include "gateway/process/clock_guard.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <sys/stat.h>

namespace oceanid::process {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class ClockGuardTest : public testing::Test {
 protected:
  ClockGuardTest() {
    std::string name = (fs::temp_directory_path() / "oceanid-clock-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~ClockGuardTest() override { fs::remove_all(folder_); }

  ClockGuard again() const { return ClockGuard(folder_.string()); }
  ClockGuard::Wall on_disk() const {
    const auto read = read_last_handshake(folder_.string());
    return read ? *read : ClockGuard::Wall();
  }
  void write(const std::string& text) const {
    std::ofstream(last_handshake_file(folder_.string())) << text;
  }

  fs::path folder_;
  const ClockGuard::Wall now{1'700'000'000s};
  const std::chrono::steady_clock::time_point steady{1h};
};

TEST_F(ClockGuardTest, AnOlderClockAfterARestartIsNoticedUntilItIsRight) {
  {
    ClockGuard guard = again();
    EXPECT_EQ(guard.observe(now, steady, now - 5s), std::nullopt);
  }
  EXPECT_EQ(on_disk(), now - 5s);
  struct stat info{};
  ASSERT_EQ(::stat(last_handshake_file(folder_.string()).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);

  ClockGuard guard = again();
  testing::internal::CaptureStderr();
  EXPECT_EQ(guard.observe(now - 1h, steady, std::nullopt), 3595s);
  EXPECT_EQ(guard.observe(now - 1h + 1s, steady + 1s, std::nullopt), 3595s);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(guard.observe(now, steady + 2s, std::nullopt), std::nullopt);
  EXPECT_NE(log.find("3595"), std::string::npos) << log;
  EXPECT_NE(log.find("2023-11-14T22:13:15"), std::string::npos) << log;
  EXPECT_NE(log.find(last_handshake_file(folder_.string())), std::string::npos) << log;
  EXPECT_EQ(log.find("behind the last"), log.rfind("behind the last")) << "once: " << log;
}

TEST_F(ClockGuardTest, WritesRarelyAndAtTheEnd) {
  ClockGuard guard = again();
  for (const auto after : {0s, 120s, 599s})
    guard.observe(now + after, steady + after, now + after);
  EXPECT_EQ(on_disk(), now);
  guard.observe(now + 600s, steady + 600s, now + 600s);
  EXPECT_EQ(on_disk(), now + 600s);
  guard.observe(now + 700s, steady + 700s, now + 700s);
  guard.keep();
  EXPECT_EQ(on_disk(), now + 700s);
}

TEST_F(ClockGuardTest, AHandshakeByAnOlderClockDoesNotMakeTheOldOneForgotten) {
  write("1700000000\n");
  ClockGuard guard = again();
  guard.observe(now - 1h, steady, now - 1h);
  guard.keep();
  EXPECT_EQ(on_disk(), now);
}

TEST_F(ClockGuardTest, AFileThatIsNoneIsIgnoredAndReplaced) {
  write("soon\n");
  ClockGuard guard = again();
  EXPECT_EQ(guard.observe(now, steady, now), std::nullopt);
  EXPECT_EQ(on_disk(), now);
}

}  // namespace
}  // namespace oceanid::process
