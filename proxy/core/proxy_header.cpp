#include "proxy/core/proxy_header.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <array>

namespace oceanid::proxy {
namespace {

using State = ProxyHeaderRead::State;
using namespace std::string_view_literals;

constexpr std::string_view v2_signature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::string_view v1_start = "PROXY "sv;
constexpr std::size_t v1_longest = 107;  // with its CRLF
constexpr std::size_t v2_fixed = 16;
constexpr std::size_t v4_block = 12;
constexpr std::size_t v6_block = 36;
constexpr std::uint8_t tlv_crc32c = 0x03;
constexpr std::size_t tlv_head = 3;
constexpr std::size_t crc_bytes = 4;

ProxyHeaderRead failed(std::string_view problem) {
  return {State::failed, 0, std::nullopt, problem};
}

std::uint8_t byte_at(std::string_view bytes, std::size_t i) {
  return static_cast<std::uint8_t>(bytes[i]);
}

std::uint16_t word_at(std::string_view bytes, std::size_t i) {
  return static_cast<std::uint16_t>((byte_at(bytes, i) << 8) | byte_at(bytes, i + 1));
}

// ---- version 1 --------------------------------------------------------------------------------

// The next field and the single space behind it; none when there is no such field.
std::optional<std::string_view> take_field(std::string_view& rest, bool last) {
  const auto space = rest.find(' ');
  if ((space == std::string_view::npos) != last) return std::nullopt;
  const auto field = rest.substr(0, space);
  rest.remove_prefix(last ? rest.size() : space + 1);
  return field;
}

std::optional<ProxyHeader> v1_addresses(std::string_view rest, Family family) {
  const auto source = take_field(rest, false);
  const auto destination = source ? take_field(rest, false) : std::nullopt;
  const auto source_port = destination ? take_field(rest, false) : std::nullopt;
  const auto destination_port = source_port ? take_field(rest, true) : std::nullopt;
  if (!destination_port) return std::nullopt;
  const auto from = IpAddress::parse(*source);
  const auto to = IpAddress::parse(*destination);
  const auto from_port = parse_decimal(*source_port, 65535);
  const auto to_port = parse_decimal(*destination_port, 65535);
  if (!from || !to || !from_port || !to_port) return std::nullopt;
  if (from->family() != family || to->family() != family) return std::nullopt;
  return ProxyHeader{{unmapped(*from), static_cast<std::uint16_t>(*from_port)},
                     {unmapped(*to), static_cast<std::uint16_t>(*to_port)}};
}

ProxyHeaderRead read_v1(std::string_view bytes) {
  const auto end = bytes.substr(0, v1_longest).find("\r\n");
  if (end == std::string_view::npos) {
    if (bytes.size() >= v1_longest) return failed("a PROXY line without an end");
    return {};
  }
  std::string_view line = bytes.substr(v1_start.size(), end - v1_start.size());
  const std::size_t size = end + 2;
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN "))
    return {State::done, size, std::nullopt, {}};
  const bool v4 = line.starts_with("TCP4 ");
  if (!v4 && !line.starts_with("TCP6 ")) return failed("a PROXY line of an unknown family");
  auto header = v1_addresses(line.substr(5), v4 ? Family::v4 : Family::v6);
  if (!header) return failed("a PROXY line whose addresses are malformed");
  return {State::done, size, header, {}};
}

// ---- version 2 --------------------------------------------------------------------------------

IpAddress v4_at(std::string_view bytes, std::size_t i) {
  return IpAddress::v4(
      {byte_at(bytes, i), byte_at(bytes, i + 1), byte_at(bytes, i + 2), byte_at(bytes, i + 3)});
}

IpAddress v6_at(std::string_view bytes, std::size_t i) {
  std::array<std::uint8_t, 16> raw{};
  for (std::size_t n = 0; n < raw.size(); ++n)
    raw[n] = byte_at(bytes, i + n);
  return unmapped(IpAddress::v6(raw));
}

// The TLVs behind the addresses: skipped, but they must fill their space, and a checksum must fit.
std::string_view check_tlvs(std::string_view header, std::size_t start) {
  for (std::size_t i = start; i < header.size();) {
    if (header.size() - i < tlv_head) return "a PROXY header whose TLVs are cut short";
    const std::size_t length = word_at(header, i + 1);
    const std::size_t value = i + tlv_head;
    if (header.size() - value < length) return "a PROXY header whose TLVs are cut short";
    if (byte_at(header, i) == tlv_crc32c) {
      if (length != crc_bytes) return "a PROXY header whose checksum has a wrong length";
      std::string copy(header);
      copy.replace(value, crc_bytes, crc_bytes, '\0');
      const auto said = (std::uint32_t{word_at(header, value)} << 16) | word_at(header, value + 2);
      if (crc32c(copy) != said) return "a PROXY header whose checksum does not fit";
    }
    i = value + length;
  }
  return {};
}

ProxyHeaderRead read_v2(std::string_view bytes) {
  if (bytes.size() > 12) {
    const std::uint8_t version_command = byte_at(bytes, 12);
    if (version_command >> 4 != 2) return failed("a PROXY header of an unknown version");
    if ((version_command & 0x0fU) > 1) return failed("a PROXY header with an unknown command");
  }
  if (bytes.size() < v2_fixed) return {};
  const std::size_t size = v2_fixed + word_at(bytes, 14);
  if (size > max_proxy_header) return failed("a PROXY header that is too long");
  if (bytes.size() < size) return {};
  if ((byte_at(bytes, 12) & 0x0fU) == 0) return {State::done, size, std::nullopt, {}};  // LOCAL
  const std::string_view header = bytes.substr(0, size);
  const std::uint8_t family = byte_at(header, 13);
  std::optional<ProxyHeader> out;
  std::size_t block = 0;
  switch (family) {
    case 0x00:  // unspecified: what follows cannot be told apart and is skipped
      return {State::done, size, std::nullopt, {}};
    case 0x11:
      block = v4_block;
      if (size < v2_fixed + block) return failed("a PROXY header without its addresses");
      out = {{v4_at(header, 16), word_at(header, 24)}, {v4_at(header, 20), word_at(header, 26)}};
      break;
    case 0x21:
      block = v6_block;
      if (size < v2_fixed + block) return failed("a PROXY header without its addresses");
      out = {{v6_at(header, 16), word_at(header, 48)}, {v6_at(header, 32), word_at(header, 50)}};
      break;
    default:
      return failed("a PROXY header of another family than TCP over IPv4 or IPv6");
  }
  if (const auto problem = check_tlvs(header, v2_fixed + block); !problem.empty())
    return failed(problem);
  return {State::done, size, out, {}};
}

// ---- writing ----------------------------------------------------------------------------------

void append_word(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xffU);
  out += static_cast<char>(value & 0xffU);
}

void append_address(std::string& out, const IpAddress& address, bool as_v6) {
  if (as_v6 && address.is_v4()) out += "\0\0\0\0\0\0\0\0\0\0\xff\xff"sv;
  for (const std::uint8_t byte : address.bytes())
    out += static_cast<char>(byte);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

ProxyHeaderRead read_proxy_header(std::string_view bytes) {
  const auto fits = [&](std::string_view start) {
    const auto n = std::min(bytes.size(), start.size());
    return bytes.substr(0, n) == start.substr(0, n);
  };
  if (fits(v2_signature))
    return bytes.size() < v2_signature.size() ? ProxyHeaderRead{} : read_v2(bytes);
  if (fits(v1_start)) return bytes.size() < v1_start.size() ? ProxyHeaderRead{} : read_v1(bytes);
  return failed("no PROXY header");
}

std::string write_proxy_header(const ProxyHeader& header) {
  const bool v6 = !header.source.address.is_v4() || !header.destination.address.is_v4();
  std::string out(v2_signature);
  out += '\x21';
  out += v6 ? '\x21' : '\x11';
  append_word(out, (v6 ? v6_block : v4_block) + tlv_head + crc_bytes);
  append_address(out, header.source.address, v6);
  append_address(out, header.destination.address, v6);
  append_word(out, header.source.port);
  append_word(out, header.destination.port);
  out += static_cast<char>(tlv_crc32c);
  append_word(out, crc_bytes);
  const std::size_t place = out.size();
  out.append(crc_bytes, '\0');
  const std::uint32_t sum = crc32c(out);
  std::string sum_bytes;
  append_word(sum_bytes, sum >> 16);
  append_word(sum_bytes, sum & 0xffffU);
  out.replace(place, crc_bytes, sum_bytes);
  return out;
}

std::string write_local_proxy_header() {
  std::string out(v2_signature);
  out += '\x20';
  out += '\0';
  append_word(out, 0);
  return out;
}

}  // namespace oceanid::proxy
