#include "tunnel/edge/transport_keys.hpp"

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace oceanid::tunnel {
namespace {

constexpr std::string_view key_label = "oceanid transport 1";
constexpr std::string_view hello_label = "oceanid hello 1";
constexpr std::string_view reach_label = "oceanid reach 1";
constexpr std::size_t digest_bytes = 32;

using Digest = std::array<std::uint8_t, digest_bytes>;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};

Digest hmac(ByteSpan key, std::string_view label, std::initializer_list<ByteSpan> parts) {
  std::vector<std::uint8_t> text(label.begin(), label.end());
  for (const ByteSpan part : parts)
    text.insert(text.end(), part.begin(), part.end());
  Digest out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), text.size(), out.data(),
       &size);
  wipe(text);
  return out;
}

}  // namespace

Result<TransportKey> transport_key(const PrivateKey& own, const PublicKey& peer,
                                   const std::optional<PresharedKey>& preshared) {
  const std::unique_ptr<EVP_PKEY, FreeKey> ours(EVP_PKEY_new_raw_private_key(
      EVP_PKEY_X25519, nullptr, own.bytes().data(), own.bytes().size()));
  const std::unique_ptr<EVP_PKEY, FreeKey> theirs(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_X25519, nullptr, peer.bytes().data(), peer.bytes().size()));
  const std::unique_ptr<EVP_PKEY_CTX, FreeContext> context(
      ours ? EVP_PKEY_CTX_new(ours.get(), nullptr) : nullptr);
  KeyBytes shared{};
  std::size_t size = shared.size();
  // OpenSSL refuses the all-zero result of a low-order public key (RFC 7748 section 6.1).
  if (!theirs || !context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), theirs.get()) != 1 ||
      EVP_PKEY_derive(context.get(), shared.data(), &size) != 1 || size != shared.size())
    return fail(Errc::invalid_argument,
                "peer " + peer.brief() + "…: its public key cannot be used for a key agreement");
  const PresharedKey none;
  Digest digest = hmac(shared, key_label, {(preshared ? *preshared : none).bytes()});
  wipe(shared);
  const TransportKey out(digest);
  wipe(digest);
  return out;
}

HelloMac hello_mac(const TransportKey& key, const Exported& exported, const Hello& hello) {
  const HelloBytes bytes = encode(hello);
  return hmac(key.bytes(), hello_label, {exported, ByteSpan(bytes).first(hello_covered)});
}

ReachMac reach_mac(const TransportKey& key, const ReachProbe& probe) {
  const ReachBytes bytes = encode(probe);
  const Digest digest = hmac(key.bytes(), reach_label, {ByteSpan(bytes).first(reach_covered)});
  ReachMac out{};
  std::copy_n(digest.begin(), out.size(), out.begin());
  return out;
}

bool same_mac(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace oceanid::tunnel
