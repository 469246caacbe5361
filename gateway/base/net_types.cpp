#include "gateway/base/net_types.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include <arpa/inet.h>

namespace oceanid {
namespace {

std::array<std::uint8_t, 16> masked(const IpAddress& address, unsigned length) {
  std::array<std::uint8_t, 16> out{};
  const auto bytes = address.bytes();
  for (unsigned i = 0; i < bytes.size(); ++i) {
    const unsigned start = i * 8;
    unsigned keep = 0;
    if (length > start) keep = std::min(8U, length - start);
    out[i] = static_cast<std::uint8_t>(bytes[i] & (0xff00U >> keep));
  }
  return out;
}

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '.' || c == '_';
}

}  // namespace

std::string_view to_string(Family family) {
  return family == Family::v4 ? "ipv4" : "ipv6";
}

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> bytes) {
  IpAddress out;
  std::ranges::copy(bytes, out.bytes_.begin());
  return out;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> bytes) {
  IpAddress out;
  out.family_ = Family::v6;
  out.bytes_ = bytes;
  return out;
}

IpAddress IpAddress::any(Family family) {
  return family == Family::v4 ? v4({}) : v6({});
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.empty() || text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const std::string copy(text);
  if (copy.find('\0') != std::string::npos) return std::nullopt;
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, copy.c_str(), four.data()) == 1) return v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, copy.c_str(), sixteen.data()) == 1) return v6(sixteen);
  return std::nullopt;
}

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(bytes(), [](std::uint8_t b) { return b == 0; });
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes_.data(), text.data(), text.size());
  return text.data();
}

Result<Prefix> Prefix::make(IpAddress address, unsigned length) {
  if (length > address.bits())
    return fail(Errc::invalid_argument,
                fmt::format("prefix length {} is over {}", length, address.bits()));
  const auto kept = masked(address, length);
  if (!std::ranges::equal(std::span(kept).first(address.bytes().size()), address.bytes())) {
    const IpAddress base =
        address.is_v4() ? IpAddress::v4({kept[0], kept[1], kept[2], kept[3]}) : IpAddress::v6(kept);
    return fail(Errc::invalid_argument,
                fmt::format("{}/{} has host bits set; the prefix is {}/{}", address.to_string(),
                            length, base.to_string(), length));
  }
  return Prefix(address, length);
}

Result<Prefix> Prefix::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = IpAddress::parse(text.substr(0, slash));
  if (!address)
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is not an address prefix", text));
  if (slash == std::string_view::npos) return host(*address);
  const auto length = parse_decimal(text.substr(slash + 1), address->bits());
  if (!length)
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\": the prefix length must be 0 to {}", text, address->bits()));
  return make(*address, static_cast<unsigned>(*length));
}

bool Prefix::contains(const IpAddress& address) const {
  if (address.family() != family()) return false;
  const auto kept = masked(address, length_);
  return std::ranges::equal(std::span(kept).first(address.bytes().size()), address_.bytes());
}

bool Prefix::contains(const Prefix& other) const {
  return other.length_ >= length_ && contains(other.address_);
}

std::string Prefix::to_string() const {
  return fmt::format("{}/{}", address_.to_string(), length_);
}

std::string InterfaceAddress::to_string() const {
  return fmt::format("{}/{}", address.to_string(), length);
}

std::string SocketAddress::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  auto parts = HostPort::parse(text);
  if (!parts) return std::unexpected(std::move(parts.error()));
  const auto address = IpAddress::parse(parts->host);
  if (!address)
    return fail(Errc::invalid_argument,
                fmt::format("\"{}\" needs an address literal before the port", text));
  return SocketAddress{*address, parts->port};
}

Result<HostPort> HostPort::parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\": {}", text, why));
  };
  std::string_view host;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos || close + 1 >= text.size() || text[close + 1] != ':')
      return bad("expected [ADDRESS]:PORT");
    host = text.substr(1, close - 1);
    port = text.substr(close + 2);
    const auto address = IpAddress::parse(host);
    if (!address || address->is_v4()) return bad("brackets hold an IPv6 address");
  } else {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad("expected HOST:PORT");
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.find(':') != std::string_view::npos) return bad("an IPv6 address needs brackets");
    if (host.empty()) return bad("the host is missing");
    if (host.size() > 253 || !std::ranges::all_of(host, is_name_byte))
      return bad("the host is not a name or an address");
  }
  const auto number = parse_decimal(port, 65535);
  if (!number || *number == 0) return bad("the port must be 1 to 65535");
  return HostPort{std::string(host), static_cast<std::uint16_t>(*number)};
}

std::string HostPort::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<IfName> IfName::parse(std::string_view text) {
  const auto bad_byte = [](char c) {
    return c == '/' || c == ':' || static_cast<unsigned char>(c) <= ' ' ||
           static_cast<unsigned char>(c) >= 0x7f || c == '"' || c == '\\';
  };
  if (text.empty() || text.size() > 15 || text == "." || text == ".." ||
      std::ranges::any_of(text, bad_byte))
    return fail(
        Errc::invalid_argument,
        fmt::format("\"{}\" is not an interface name (1 to 15 printable bytes, no '/')", text));
  return IfName(text);
}

Result<Mark> Mark::parse(std::string_view text) {
  const auto hex = [](std::string_view part) -> std::optional<std::uint32_t> {
    if (!part.starts_with("0x") || part.size() < 3 || part.size() > 10) return std::nullopt;
    std::uint32_t value = 0;
    const auto [end, ec] = std::from_chars(part.data() + 2, part.data() + part.size(), value, 16);
    if (ec != std::errc() || end != part.data() + part.size()) return std::nullopt;
    return value;
  };
  const auto slash = text.find('/');
  const auto value = hex(text.substr(0, slash));
  const auto mask =
      slash == std::string_view::npos ? std::optional(0xffffffffU) : hex(text.substr(slash + 1));
  if (!value || !mask || (*value & ~*mask) != 0)
    return fail(
        Errc::invalid_argument,
        fmt::format("\"{}\" is not a mark (0xVALUE/0xMASK with the value inside the mask)", text));
  return Mark{*value, *mask};
}

std::string Mark::to_string() const {
  return fmt::format("0x{:08x}/0x{:08x}", value, mask);
}

std::optional<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t max) {
  if (text.empty() || text.size() > 20) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

}  // namespace oceanid
