#include "tunnel/edge/key_store.hpp"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>

#include <gtest/gtest.h>

#include <sys/stat.h>
#include <unistd.h>

namespace oceanid::tunnel {
namespace {

class KeyStore : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "oceanid-keys-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }

  std::string folder_;
};

std::string output_of(const std::string& command) {
  struct Close {
    void operator()(FILE* pipe) const { ::pclose(pipe); }
  };
  const std::unique_ptr<FILE, Close> pipe(::popen(command.c_str(), "r"));
  std::array<char, 128> line{};
  if (!pipe || !std::fgets(line.data(), line.size(), pipe.get())) return "";
  std::string text(line.data());
  while (text.ends_with('\n'))
    text.pop_back();
  return text;
}

TEST_F(KeyStore, CreatesAKeyOnceWithMode0600) {
  const std::string path = folder_ + "/state/private.key";
  const auto first = load_or_create_private_key(path);
  ASSERT_TRUE(first) << first.error().what;
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
  const auto second = load_or_create_private_key(path);
  ASSERT_TRUE(second);
  EXPECT_TRUE(*first == *second);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_ + "/state"), {}), 1)
      << "no temporary file stays behind";
}

TEST_F(KeyStore, GeneratedKeysAreClampedAndDiffer) {
  const auto first = generate_private_key();
  const auto second = generate_private_key();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(*first == *second);
  EXPECT_EQ(first->bytes()[0] & 7U, 0U);
  EXPECT_EQ(first->bytes()[31] & 0xc0U, 0x40U);
}

// RFC 7748 section 6.1.
TEST_F(KeyStore, DerivesThePublicKeyOfTheStandard) {
  const auto alice =
      PrivateKey::from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  ASSERT_TRUE(alice);
  EXPECT_EQ(public_key_of(*alice)->to_hex(),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
}

TEST_F(KeyStore, AgreesWithTheWgProgram) {
  if (output_of("command -v wg").empty()) GTEST_SKIP() << "needs the program wg (wireguard-tools)";
  for (int i = 0; i < 5; ++i) {
    const std::string path = folder_ + "/" + std::to_string(i);
    const auto key = load_or_create_private_key(path);
    ASSERT_TRUE(key);
    EXPECT_EQ(public_key_of(*key)->to_base64(), output_of("wg pubkey < " + path));
  }
}

TEST_F(KeyStore, RefusesAFileThatOthersCanRead) {
  const auto key = generate_private_key();
  for (const mode_t mode : {0640U, 0604U, 0660U, 0601U}) {
    const std::string path = write("open", key->reveal_base64() + "\n", mode);
    const auto loaded = load_private_key(path);
    ASSERT_FALSE(loaded) << std::oct << mode;
    EXPECT_EQ(loaded.error().code, Errc::permission);
    EXPECT_NE(loaded.error().what.find("chmod 600 " + path), std::string::npos)
        << loaded.error().what;
    EXPECT_FALSE(load_or_create_private_key(path)) << "and does not overwrite it";
  }
}

TEST_F(KeyStore, RefusesAFileOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  const std::string path = write("other", generate_private_key()->reveal_base64() + "\n");
  ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
  const auto loaded = load_private_key(path);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::permission);
  EXPECT_NE(loaded.error().what.find("chown 0 " + path), std::string::npos) << loaded.error().what;
}

TEST_F(KeyStore, FollowsALinkAsKubernetesMountsSecrets) {
  const auto key = generate_private_key();
  const std::string path = write("data", key->reveal_base64());
  std::filesystem::create_symlink(path, folder_ + "/link");
  const auto loaded = load_private_key(folder_ + "/link");
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_TRUE(*loaded == *key);
}

TEST_F(KeyStore, SaysWhatIsWrongWithTheContents) {
  for (const std::string text :
       {"", "\n", "not a key\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"}) {
    const auto loaded = load_preshared_key(write("bad", text));
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, Errc::invalid_argument);
    EXPECT_NE(loaded.error().what.find("44 characters"), std::string::npos);
  }
  EXPECT_EQ(load_private_key(write("long", std::string(5000, 'A'))).error().code, Errc::limit);
  EXPECT_EQ(load_private_key(folder_ + "/absent").error().code, Errc::not_found);
  EXPECT_EQ(load_private_key(folder_).error().code, Errc::invalid_argument);
}

TEST_F(KeyStore, AnErrorNeverQuotesTheContents) {
  const std::string almost = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=";
  const auto loaded = load_private_key(write("almost", almost));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().what.find("xTIB"), std::string::npos);
}

TEST_F(KeyStore, ANextKeyIsPromotedAndTheFormerOneKept) {
  const std::string path = folder_ + "/private.key";
  const auto first = load_or_create_private_key(path);
  const auto next = load_or_create_private_key(next_key_path(path));
  ASSERT_TRUE(first && next);
  write("private.key.old", "from a rotation before\n");
  ASSERT_TRUE(promote_next_key(path));
  EXPECT_TRUE(load_private_key(path).value() == *next);
  EXPECT_TRUE(load_private_key(former_key_path(path)).value() == *first);
  EXPECT_EQ(load_private_key(next_key_path(path)).error().code, Errc::not_found);
  ASSERT_TRUE(restore_former_key(path));
  EXPECT_TRUE(load_private_key(path).value() == *first);
  EXPECT_TRUE(load_private_key(next_key_path(path)).value() == *next);
  EXPECT_EQ(load_private_key(former_key_path(path)).error().code, Errc::not_found);
  EXPECT_TRUE(remove_key(next_key_path(path)));
  EXPECT_TRUE(remove_key(next_key_path(path))) << "gone is gone";
}

TEST_F(KeyStore, WithoutANextKeyNothingIsPromoted) {
  const std::string path = folder_ + "/private.key";
  const auto first = load_or_create_private_key(path);
  EXPECT_FALSE(promote_next_key(path));
  EXPECT_TRUE(load_private_key(path).value() == *first);
  EXPECT_EQ(load_private_key(former_key_path(path)).error().code, Errc::not_found);
}

TEST_F(KeyStore, AKeysAgeIsThatOfItsFile) {
  const std::string path = folder_ + "/private.key";
  EXPECT_FALSE(key_born(path));
  ASSERT_TRUE(load_or_create_private_key(path));
  const auto now = std::chrono::system_clock::now();
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(48));
  const auto age = now - key_born(path).value();
  EXPECT_GT(age, std::chrono::hours(47));
  EXPECT_LT(age, std::chrono::hours(49));
}

}  // namespace
}  // namespace oceanid::tunnel
