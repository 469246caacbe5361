#include "tunnel/core/key.hpp"

#include <cstring>
#include <new>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

// Any 32 bytes: this file is about spelling.
constexpr std::string_view some_secret =
    "77076d0a7318a57d3c16c17251b26645c6ae1b1e1a3d4a5d4c6f0c5e0f1a2b3c";
constexpr std::string_view base64_key = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";  // wg(8)
constexpr std::string_view hex_key =
    "c53201039adba14be71f886da1d8dbe9eebded08cb111b75340078999aa9f038";

TEST(Key, Base64AndHexSpellTheSameKey) {
  const auto from_base64 = PublicKey::from_base64(base64_key);
  const auto from_hex = PublicKey::from_hex(hex_key);
  ASSERT_TRUE(from_base64 && from_hex);
  EXPECT_EQ(*from_base64, *from_hex);
  EXPECT_EQ(from_hex->to_base64(), base64_key);
  EXPECT_EQ(from_base64->to_hex(), hex_key);
  EXPECT_EQ(from_base64->brief(), "xTIBA5rb");
}

TEST(Key, RefusesEveryOtherSpelling) {
  for (const std::string_view text :
       {"", "=", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg==",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=",  // the two spare bits are not zero
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Di=",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8D-=",
        " TIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg\n"})
    EXPECT_FALSE(PublicKey::from_base64(text)) << text;
  EXPECT_FALSE(
      PublicKey::from_hex("C53201039adba14be71f886da1d8dbe9eebded08cb111b75340078999aa9f038"));
  EXPECT_FALSE(PublicKey::from_hex(hex_key.substr(1)));
  EXPECT_FALSE(PublicKey::from_hex(std::string(hex_key) + "0"));
}

TEST(Key, SecretsCompareAndKnowZero) {
  const auto key = PrivateKey::from_hex(some_secret);
  ASSERT_TRUE(key);
  EXPECT_TRUE(*key == *PrivateKey::from_base64(key->reveal_base64()));
  EXPECT_FALSE(*key == PrivateKey());
  EXPECT_FALSE(key->is_zero());
  EXPECT_TRUE(PresharedKey().is_zero());
  EXPECT_EQ(key->reveal_hex(), some_secret);
}

TEST(Key, ASecretIsGoneFromMemoryWhenItDies) {
  alignas(PrivateKey) std::array<std::uint8_t, sizeof(PrivateKey)> memory{};
  PrivateKey* key = new (memory.data()) PrivateKey(*PrivateKey::from_hex(some_secret));
  std::array<std::uint8_t, sizeof(PrivateKey)> seen{};
  std::memcpy(seen.data(), memory.data(), memory.size());
  ASSERT_NE(seen, (std::array<std::uint8_t, sizeof(PrivateKey)>{}));
  key->~PrivateKey();
  std::memcpy(seen.data(), memory.data(), memory.size());
  EXPECT_EQ(seen, (std::array<std::uint8_t, sizeof(PrivateKey)>{}));
}

}  // namespace
}  // namespace oceanid::tunnel
