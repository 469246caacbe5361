#include "tunnel/core/probe_packet.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

constexpr std::array<std::uint8_t, 4> magic{'O', 'C', 'E', 'P'};
constexpr std::uint8_t version = 1;
constexpr std::uint8_t hears_you_flag = 1;
constexpr std::uint8_t word_flag = 2;
constexpr std::size_t word_at = 24;
constexpr std::size_t ipv4_at = 28;
constexpr std::size_t ipv6_at = 32;
constexpr std::uint8_t serves_bit = 1;
constexpr std::uint8_t ipv4_bit = 2;
constexpr std::uint8_t ipv6_bit = 4;

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

void put_word(ProbeBytes& bytes, const ExitWord& word) {
  bytes[6] |= word_flag;
  bytes[word_at] = static_cast<std::uint8_t>(
      (word.serves ? serves_bit : 0) | (word.ipv4 ? ipv4_bit : 0) | (word.ipv6 ? ipv6_bit : 0));
  if (word.ipv4) std::ranges::copy(word.ipv4->bytes(), bytes.begin() + ipv4_at);
  if (word.ipv6) std::ranges::copy(word.ipv6->bytes(), bytes.begin() + ipv6_at);
}

ExitWord get_word(std::span<const std::uint8_t> bytes) {
  const std::uint8_t bits = bytes[word_at];
  ExitWord word;
  word.serves = (bits & serves_bit) != 0;
  std::array<std::uint8_t, 4> four{};
  std::array<std::uint8_t, 16> sixteen{};
  std::ranges::copy(bytes.subspan(ipv4_at, four.size()), four.begin());
  std::ranges::copy(bytes.subspan(ipv6_at, sixteen.size()), sixteen.begin());
  if ((bits & ipv4_bit) != 0) word.ipv4 = IpAddress::v4(four);
  if ((bits & ipv6_bit) != 0) word.ipv6 = IpAddress::v6(sixteen);
  return word;
}

}  // namespace

std::string to_string(const ExitWord& word) {
  const auto said = [](const std::optional<IpAddress>& address) {
    return address ? address->to_string() : std::string("-");
  };
  return std::string(word.serves ? "serves " : "does not serve ") + said(word.ipv4) + " " +
         said(word.ipv6);
}

ProbeBytes encode(const ProbePacket& packet) {
  ProbeBytes bytes{};
  std::ranges::copy(magic, bytes.begin());
  bytes[4] = version;
  bytes[5] = static_cast<std::uint8_t>(packet.type);
  bytes[6] = packet.hears_you ? hears_you_flag : 0;
  put_u64(bytes, 8, packet.nonce);
  put_u64(bytes, 16, packet.sent);
  if (packet.word) put_word(bytes, *packet.word);
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
  ProbePacket packet{type, get_u64(bytes, 8), get_u64(bytes, 16), hears_you};
  if (type == ProbeType::reply && (bytes[6] & word_flag) != 0) packet.word = get_word(bytes);
  return packet;
}

}  // namespace oceanid::tunnel
