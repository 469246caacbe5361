#include "tunnel/core/path_probe_packet.hpp"

#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, 4> magic{'O', 'C', 'M', 'P'};
constexpr std::uint8_t version = 1;
constexpr std::size_t authenticated = 64;
constexpr std::size_t recipient_at = 8;

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_PKEY_CTX* context) const { EVP_PKEY_CTX_free(context); }
};
template <class T>
using Owned = std::unique_ptr<T, FreeKey>;

template <class Number>
void put(PathProbeBytes& bytes, std::size_t at, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    bytes[at + i] = static_cast<std::uint8_t>((value >> (8 * (sizeof value - 1 - i))) & 0xffU);
}

template <class Number>
Number get(std::span<const std::uint8_t> bytes, std::size_t at) {
  Number value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i)
    value = static_cast<Number>((value << 8U) | bytes[at + i]);
  return value;
}

KeyBytes hmac(const KeyBytes& key, std::span<const std::uint8_t> text) {
  KeyBytes out{};
  unsigned size = out.size();
  ::HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), text.data(), text.size(),
         out.data(), &size);
  return out;
}

bool equal_in_constant_time(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

// RFC 7748 section 6.1; an all-zero secret (a peer's key of small order) is OpenSSL's error.
std::optional<KeyBytes> shared_secret(const PrivateKey& own, const PublicKey& peer) {
  const Owned<EVP_PKEY> ours(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr,
                                                          own.bytes().data(), own.bytes().size()));
  const Owned<EVP_PKEY> theirs(EVP_PKEY_new_raw_public_key(
      EVP_PKEY_X25519, nullptr, peer.bytes().data(), peer.bytes().size()));
  if (!ours || !theirs) return std::nullopt;
  const Owned<EVP_PKEY_CTX> context(EVP_PKEY_CTX_new(ours.get(), nullptr));
  KeyBytes out{};
  std::size_t size = out.size();
  if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
      EVP_PKEY_derive_set_peer(context.get(), theirs.get()) != 1 ||
      EVP_PKEY_derive(context.get(), out.data(), &size) != 1 || size != out.size())
    return std::nullopt;
  return out;
}

std::optional<PublicKey> public_of(const PrivateKey& own) {
  const Owned<EVP_PKEY> pair(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr,
                                                          own.bytes().data(), own.bytes().size()));
  KeyBytes out{};
  std::size_t size = out.size();
  if (!pair || EVP_PKEY_get_raw_public_key(pair.get(), out.data(), &size) != 1) return std::nullopt;
  return PublicKey(out);
}

}  // namespace

Result<PathProbeKey> PathProbeKey::derive(const PrivateKey& own, const PublicKey& peer,
                                          const std::optional<PresharedKey>& preshared) {
  auto shared = shared_secret(own, peer);
  const auto ours = public_of(own);
  if (!shared || !ours)
    return fail(Errc::invalid_argument, "no secret can be shared with the key " + peer.brief());
  constexpr std::string_view label = "oceanid path probe 1";
  std::vector<std::uint8_t> text(label.begin(), label.end());
  if (preshared) text.insert(text.end(), preshared->bytes().begin(), preshared->bytes().end());
  PathProbeKey key;
  key.secret_ = PrivateKey(hmac(*shared, text));
  key.own_ = *ours;
  key.peer_ = peer;
  wipe(*shared);
  wipe(text);
  return key;
}

std::uint64_t PathProbeKey::recipient_of(PathProbeRole sender) const {
  std::vector<std::uint8_t> text{'t', 'o', static_cast<std::uint8_t>(sender)};
  text.insert(text.end(), peer_.bytes().begin(), peer_.bytes().end());
  return get<std::uint64_t>(hmac(secret_.bytes(), text), 0);
}

std::uint64_t PathProbeKey::recipient_for(PathProbeRole us) const {
  const auto sender =
      us == PathProbeRole::dialler ? PathProbeRole::responder : PathProbeRole::dialler;
  std::vector<std::uint8_t> text{'t', 'o', static_cast<std::uint8_t>(sender)};
  text.insert(text.end(), own_.bytes().begin(), own_.bytes().end());
  return get<std::uint64_t>(hmac(secret_.bytes(), text), 0);
}

PathProbeBytes PathProbeKey::seal(const PathProbePacket& packet) const {
  PathProbeBytes bytes{};
  std::ranges::copy(magic, bytes.begin());
  bytes[4] = version;
  bytes[5] = static_cast<std::uint8_t>(packet.type);
  put(bytes, 6, packet.acked_size);
  put(bytes, recipient_at, packet.recipient);
  put(bytes, 16, packet.session);
  put(bytes, 24, packet.to_session);
  put(bytes, 32, packet.number);
  put(bytes, 40, packet.acked);
  put(bytes, 48, packet.size);
  put(bytes, 50, packet.report);
  put(bytes, 52, packet.applied);
  put(bytes, 56, packet.sent);
  const KeyBytes mac = hmac(secret_.bytes(), std::span(bytes).first(authenticated));
  std::copy_n(mac.begin(), path_probe_size - authenticated, bytes.begin() + authenticated);
  return bytes;
}

std::optional<PathProbePacket> PathProbeKey::open(std::span<const std::uint8_t> bytes) const {
  if (!path_probe_recipient(bytes)) return std::nullopt;
  const KeyBytes mac = hmac(secret_.bytes(), bytes.first(authenticated));
  const auto given = bytes.subspan(authenticated, path_probe_size - authenticated);
  if (!equal_in_constant_time(given, std::span(mac).first(given.size()))) return std::nullopt;
  PathProbePacket packet;
  packet.type = static_cast<PathProbeType>(bytes[5]);
  packet.acked_size = get<std::uint16_t>(bytes, 6);
  packet.recipient = get<std::uint64_t>(bytes, recipient_at);
  packet.session = get<std::uint64_t>(bytes, 16);
  packet.to_session = get<std::uint64_t>(bytes, 24);
  packet.number = get<std::uint64_t>(bytes, 32);
  packet.acked = get<std::uint64_t>(bytes, 40);
  packet.size = get<std::uint16_t>(bytes, 48);
  packet.report = get<std::uint16_t>(bytes, 50);
  packet.applied = get<std::uint16_t>(bytes, 52);
  packet.sent = get<std::uint64_t>(bytes, 56);
  return packet;
}

std::optional<std::uint64_t> path_probe_recipient(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < path_probe_size) return std::nullopt;
  if (!std::ranges::equal(bytes.first(magic.size()), magic) || bytes[4] != version)
    return std::nullopt;
  const auto type = static_cast<PathProbeType>(bytes[5]);
  if (type != PathProbeType::question && type != PathProbeType::answer) return std::nullopt;
  return get<std::uint64_t>(bytes, recipient_at);
}

}  // namespace oceanid::tunnel
