#include "tunnel/core/probe_packet.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, 4> magic{'O', 'C', 'E', 'P'};
constexpr std::uint8_t version = 1;
constexpr std::uint8_t hears_you_flag = 1;

void put_u64(ProbeBytes& bytes, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i)
    bytes[at + i] = static_cast<std::uint8_t>((value >> (56 - 8 * i)) & 0xffU);
}

std::uint64_t get_u64(std::span<const std::uint8_t> bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i)
    value = (value << 8U) | bytes[at + i];
  return value;
}

}  // namespace

ProbeBytes encode(const ProbePacket& packet) {
  ProbeBytes bytes{};
  std::ranges::copy(magic, bytes.begin());
  bytes[4] = version;
  bytes[5] = static_cast<std::uint8_t>(packet.type);
  bytes[6] = packet.hears_you ? hears_you_flag : 0;
  put_u64(bytes, 8, packet.nonce);
  put_u64(bytes, 16, packet.sent);
  return bytes;
}

std::optional<ProbePacket> decode_probe(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < probe_packet_size) return std::nullopt;
  if (!std::ranges::equal(bytes.first(magic.size()), magic) || bytes[4] != version)
    return std::nullopt;
  const auto type = static_cast<ProbeType>(bytes[5]);
  if (type != ProbeType::request && type != ProbeType::reply && type != ProbeType::notice)
    return std::nullopt;
  const bool hears_you = (bytes[6] & hears_you_flag) != 0;
  return ProbePacket{type, get_u64(bytes, 8), get_u64(bytes, 16), hears_you};
}

}  // namespace oceanid::tunnel
