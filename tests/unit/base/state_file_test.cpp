#include "gateway/base/runtime/state_file.hpp"

#include <filesystem>

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

namespace oceanid {
namespace {

class StateFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "oceanid-state-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = folder_ + "/state";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  auto files() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }

  std::string folder_;
  std::string path_;
};

TEST_F(StateFile, AtomicWritesReplaceOrKeep) {
  ASSERT_TRUE(write_file_atomically(path_, "one", 0640));
  ASSERT_TRUE(write_file_atomically(path_, "two", 0600));
  EXPECT_EQ(read_small_file(path_, 16).value(), "two");
  const auto kept = write_file_atomically(path_, "three", 0600, Existing::keep);
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code, Errc::already_exists);
  EXPECT_EQ(read_small_file(path_, 16).value(), "two");
  EXPECT_EQ(files(), 1) << "no temporary file stays behind";
  EXPECT_FALSE(write_file_atomically(folder_ + "/no/such/folder", "x", 0600));
}

TEST_F(StateFile, HasTheModeAskedForWhateverTheUmask) {
  const mode_t before = ::umask(077);
  const auto written = write_file_atomically(path_, "x", 0644);
  ::umask(before);
  ASSERT_TRUE(written);
  struct stat status{};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0644U);
}

TEST_F(StateFile, LeavesNothingBehindWhenTheNameIsTaken) {
  std::filesystem::create_directory(path_);
  EXPECT_FALSE(write_file_atomically(path_, "x", 0600));
  EXPECT_EQ(files(), 1);
}

TEST_F(StateFile, IsReadWholeUpToTheLimit) {
  for (const std::size_t size : {0UZ, 1UZ, 65535UZ, 65536UZ, 65537UZ, 1'000'000UZ}) {
    std::string text(size, 'a');
    if (size != 0) text.back() = 'z';
    ASSERT_TRUE(write_file_atomically(path_, text, 0600));
    EXPECT_TRUE(read_small_file(path_, size) == text) << size;
    EXPECT_TRUE(read_small_file(path_, 16UZ << 20U) == text) << size;
    if (size == 0) continue;
    const auto longer = read_small_file(path_, size - 1);
    ASSERT_FALSE(longer) << size;
    EXPECT_EQ(longer.error().code, Errc::limit);
  }
  EXPECT_EQ(read_small_file(folder_ + "/absent", 16).error().code, Errc::not_found);
}

}  // namespace
}  // namespace oceanid
