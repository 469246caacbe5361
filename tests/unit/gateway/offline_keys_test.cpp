#include "gateway/process/offline.hpp"
#include "tunnel/edge/key_store.hpp"

#include <filesystem>

#include <gtest/gtest.h>

#include <unistd.h>

namespace oceanid::process {
namespace {

class OfflineKeys : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "oceanid-offline-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    config_.state_dir = name;
  }
  void TearDown() override { std::filesystem::remove_all(config_.state_dir); }

  Config config_;
};

TEST_F(OfflineKeys, TheNextKeyIsPreparedOnceAndNothingElseChanges) {
  const auto own = own_public_key(config_);
  const auto text = rotate_offline(config_, /*abandon=*/false, /*force=*/false);
  ASSERT_TRUE(text) << text.error().what;
  EXPECT_EQ(*text, rotate_offline(config_, false, false).value());
  EXPECT_EQ(text->find(*own), std::string::npos);
  EXPECT_EQ(own_public_key(config_).value(), *own);
  EXPECT_TRUE(rotate_offline(config_, /*abandon=*/true, false));
  EXPECT_FALSE(rotate_offline(config_, true, false)) << "nothing is left to abandon";
  EXPECT_EQ(own_public_key(config_).value(), *own);
}

TEST_F(OfflineKeys, ForcedItIsTheKeyOfTheNextStart) {
  const auto own = own_public_key(config_);
  const auto text = rotate_offline(config_, false, /*force=*/true);
  ASSERT_TRUE(text) << text.error().what;
  const auto now = own_public_key(config_);
  EXPECT_NE(*now, *own);
  EXPECT_NE(text->find(*now), std::string::npos);
}

// What must not be seen is never in what is said.
TEST_F(OfflineKeys, NoSecretIsPrinted) {
  ASSERT_TRUE(own_public_key(config_));
  const auto text = rotate_offline(config_, false, false);
  const std::string path = config_.state_dir + "/private.key";
  for (const auto& file : {path, tunnel::next_key_path(path)})
    EXPECT_EQ(text->find(tunnel::load_private_key(file)->reveal_base64()), std::string::npos);
}

}  // namespace
}  // namespace oceanid::process
