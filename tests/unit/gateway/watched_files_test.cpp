#include "gateway/process/watched_files.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <unistd.h>

namespace oceanid::process {
namespace {

namespace fs = std::filesystem;

class WatchedFilesTest : public testing::Test {
 protected:
  WatchedFilesTest() {
    std::string name = (fs::temp_directory_path() / "oceanid-watched-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~WatchedFilesTest() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
  }

  fs::path folder_;
};

TEST_F(WatchedFilesTest, AChangeIsToldOnceAfterTwoLooksThatAgree) {
  const std::string path = write("a.yaml", "one");
  WatchedFiles files;
  files.watch({path, ""});
  EXPECT_FALSE(files.changed());
  write("a.yaml", "two, and longer");
  EXPECT_FALSE(files.changed()) << "its writer may not be done";
  write("a.yaml", "two, and longer still");
  EXPECT_FALSE(files.changed()) << "indeed it was not";
  EXPECT_TRUE(files.changed());
  EXPECT_FALSE(files.changed());
  EXPECT_FALSE(files.changed());
}

TEST_F(WatchedFilesTest, WhatGoesIsNoChangeAndWhatComesInItsPlaceIs) {
  const std::string path = write("a.yaml", "one");
  WatchedFiles files;
  files.watch({path});
  fs::remove(path);
  for (int look = 0; look < 3; ++look)
    EXPECT_FALSE(files.changed());
  write("a.yaml", "three");
  EXPECT_FALSE(files.changed());
  EXPECT_TRUE(files.changed());
}

TEST_F(WatchedFilesTest, AMissingFileThatAppearsIsAChange) {
  WatchedFiles files;
  files.watch({(folder_ / "late.pem").string()});
  EXPECT_FALSE(files.changed());
  write("late.pem", "here");
  EXPECT_FALSE(files.changed());
  EXPECT_TRUE(files.changed());
}

// As the kubelet replaces what a ConfigMap mounts: the file's own link never changes.
TEST_F(WatchedFilesTest, AFolderSwappedBehindTwoLinksIsSeen) {
  fs::create_directory(folder_ / "..1");
  fs::create_directory(folder_ / "..2");
  write("..1/a.yaml", "one");
  write("..2/a.yaml", "one");  // even with the same size
  fs::create_directory_symlink("..1", folder_ / "..data");
  fs::create_symlink("..data/a.yaml", folder_ / "a.yaml");
  WatchedFiles files;
  files.watch({(folder_ / "a.yaml").string()});
  EXPECT_FALSE(files.changed());
  fs::create_directory_symlink("..2", folder_ / "..data_tmp");
  fs::rename(folder_ / "..data_tmp", folder_ / "..data");
  EXPECT_FALSE(files.changed());
  EXPECT_TRUE(files.changed());
}

}  // namespace
}  // namespace oceanid::process
