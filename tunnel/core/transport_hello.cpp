#include "tunnel/core/transport_hello.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, 4> hello_magic{'O', 'C', 'T', 'R'};
constexpr std::array<std::uint8_t, 4> probe_magic{'O', 'C', 'U', 'R'};
constexpr std::uint8_t version = 1;
constexpr std::size_t version_at = 4;
constexpr std::size_t kind_at = 5;
constexpr std::size_t zero_at = 6;
constexpr std::size_t body_at = 8;

template <std::size_t size>
std::array<std::uint8_t, size> opened(const std::array<std::uint8_t, 4>& magic, std::uint8_t kind) {
  std::array<std::uint8_t, size> out{};
  std::ranges::copy(magic, out.begin());
  out[version_at] = version;
  out[kind_at] = kind;
  return out;
}

bool opens(ByteSpan bytes, const std::array<std::uint8_t, 4>& magic) {
  return std::ranges::equal(bytes.first(magic.size()), magic) && bytes[version_at] == version &&
         (bytes[kind_at] == 1 || bytes[kind_at] == 2) && bytes[zero_at] == 0 &&
         bytes[zero_at + 1] == 0;
}

}  // namespace

HelloBytes encode(const Hello& hello) {
  auto out = opened<hello_bytes>(hello_magic, static_cast<std::uint8_t>(hello.kind));
  std::ranges::copy(hello.session, out.begin() + body_at);
  std::ranges::copy(hello.mac, out.begin() + hello_covered);
  return out;
}

std::optional<Hello> decode_hello(ByteSpan bytes) {
  if (bytes.size() != hello_bytes || !opens(bytes, hello_magic)) return std::nullopt;
  Hello out;
  out.kind = static_cast<HelloKind>(bytes[kind_at]);
  std::ranges::copy(bytes.subspan(body_at, session_id_bytes), out.session.begin());
  std::ranges::copy(bytes.subspan(hello_covered, hello_mac_bytes), out.mac.begin());
  return out;
}

ReachBytes encode(const ReachProbe& probe) {
  auto out = opened<reach_bytes>(probe_magic, static_cast<std::uint8_t>(probe.type));
  for (std::size_t i = 0; i < sizeof probe.nonce; ++i)
    out[body_at + i] = static_cast<std::uint8_t>(probe.nonce >> (56U - 8U * i));
  std::ranges::copy(probe.mac, out.begin() + reach_covered);
  return out;
}

std::optional<ReachProbe> decode_reach(ByteSpan bytes) {
  if (bytes.size() != reach_bytes || !opens(bytes, probe_magic)) return std::nullopt;
  ReachProbe out;
  out.type = static_cast<ReachType>(bytes[kind_at]);
  for (std::size_t i = 0; i < sizeof out.nonce; ++i)
    out.nonce = (out.nonce << 8U) | bytes[body_at + i];
  std::ranges::copy(bytes.subspan(reach_covered, reach_mac_bytes), out.mac.begin());
  return out;
}

}  // namespace oceanid::tunnel
