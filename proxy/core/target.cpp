#include "proxy/core/target.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include <idn2.h>

namespace oceanid::proxy {
namespace {

std::unexpected<Error> refuse(std::string_view why) {
  return fail(Errc::protocol, std::string(why));
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// One part of inet_aton's grammar; 2^32-1 at most, so that no part can wrap.
std::optional<std::uint64_t> parse_part(std::string_view text) {
  unsigned base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : text) {
    const char l = lower(c);
    unsigned digit = 16;
    if (is_digit(l)) digit = static_cast<unsigned>(l - '0');
    if (l >= 'a' && l <= 'f') digit = static_cast<unsigned>(l - 'a') + 10;
    if (digit >= base) return std::nullopt;
    value = value * base + digit;
    if (value > 0xffffffff) return std::nullopt;
  }
  return value;
}

// A host whose last label is a number is an IPv4 address or nothing (WHATWG URL, "ends in a
// number"): no top-level domain is one, and a resolver further on might read it with inet_aton.
bool ends_in_number(std::string_view host) {
  const auto dot = host.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? host : host.substr(dot + 1);
  if (last.empty()) return false;
  return std::ranges::all_of(last, is_digit) || last.starts_with("0x") || last.starts_with("0X");
}

bool is_label_byte(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

// RFC 1123 section 2.1 and RFC 1035 section 2.3.4, plus '_' (service records and many real hosts
// use it).
std::string_view fault_of_name(std::string_view name) {
  if (name.size() > 253) return "the host name is longer than 253 bytes";
  while (true) {
    const auto dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    if (label.empty()) return "the host name has an empty label";
    if (label.size() > 63) return "a label of the host name is longer than 63 bytes";
    if (!std::ranges::all_of(label, is_label_byte))
      return "the host name holds a byte other than letters, digits, '-', '_' and '.'";
    if (label.front() == '-' || label.back() == '-')
      return "a label of the host name begins or ends with '-'";
    if (dot == std::string_view::npos) return {};
    name.remove_prefix(dot + 1);
  }
}

Result<std::string> canonical_v6(std::string_view bracketed) {
  if (!bracketed.ends_with(']')) return refuse("the bracket around the IPv6 address is not closed");
  const std::string_view text = bracketed.substr(1, bracketed.size() - 2);
  if (text.find('%') != std::string_view::npos)
    return refuse("an IPv6 zone id has no meaning for a proxy");
  const auto address = IpAddress::parse(text);
  if (!address || address->is_v4()) return refuse("brackets hold an IPv6 address");
  return unmapped(*address).to_string();
}

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

// UTS #46, non-transitional (sharp s stays itself), as browsers and curl do.
Result<std::string> to_ascii(std::string_view name) {
  if (name.size() > 1024 || name.contains('\0'))
    return refuse("the international name is too long");
  char* out = nullptr;
  const int status =
      ::idn2_to_ascii_8z(std::string(name).c_str(), &out, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
  const std::unique_ptr<char, decltype(&::idn2_free)> owner(out, ::idn2_free);
  if (status != IDN2_OK || out == nullptr) return refuse("the international name is not valid");
  std::string ascii(out);
  if (!std::ranges::all_of(ascii, is_ascii)) return refuse("the international name is not valid");
  return ascii;
}

// What people paste by mistake, told apart so that the message helps.
std::string_view fault_of_shape(std::string_view authority) {
  if (authority.empty()) return "the destination is empty: CONNECT needs HOST:PORT";
  if (authority.find('\0') != std::string_view::npos) return "the destination holds a NUL byte";
  if (authority.find("://") != std::string_view::npos)
    return "CONNECT needs HOST:PORT, not a URL with a scheme";
  if (!std::ranges::all_of(authority, is_ascii))
    return "the destination holds bytes beyond ASCII: international names come as Punycode";
  if (authority.find('@') != std::string_view::npos)
    return "CONNECT needs HOST:PORT without user or password";
  if (authority.find_first_of("/?#\\") != std::string_view::npos)
    return "CONNECT needs HOST:PORT without a path, query or fragment";
  return {};
}

Result<std::uint16_t> parse_port(std::string_view text) {
  if (text.empty()) return refuse("the port is missing: CONNECT needs HOST:PORT");
  const auto port = parse_decimal(text, 65535);
  if (!port || *port == 0) return refuse("the port must be a decimal number from 1 to 65535");
  return static_cast<std::uint16_t>(*port);
}

}  // namespace

std::optional<IpAddress> parse_loose_v4(std::string_view text) {
  std::array<std::uint64_t, 4> parts{};
  std::size_t count = 0;
  while (true) {
    const auto dot = text.find('.');
    const auto part = parse_part(text.substr(0, dot));
    if (!part || count == parts.size()) return std::nullopt;
    parts[count++] = *part;
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  // The last part fills what the others, a byte each, leave.
  const std::uint64_t last = parts[count - 1];
  if (last > (std::uint64_t{0xffffffff} >> (8 * (count - 1)))) return std::nullopt;
  std::uint64_t value = last;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    if (parts[i] > 255) return std::nullopt;
    value |= parts[i] << (24 - 8 * i);
  }
  return IpAddress::v4({static_cast<std::uint8_t>(value >> 24),
                        static_cast<std::uint8_t>(value >> 16),
                        static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
}

Result<std::string> canonical_host(std::string_view host) {
  if (!std::ranges::all_of(host, is_ascii)) {
    const auto ascii = to_ascii(host);
    if (!ascii) return std::unexpected(ascii.error());
    return canonical_host(*ascii);  // a fullwidth 127.0.0.1 is one now
  }
  if (host.starts_with('[')) return canonical_v6(host);
  if (host.find(':') != std::string_view::npos) return refuse("an IPv6 address needs brackets");
  if (host.ends_with('.')) host.remove_suffix(1);  // the root's dot: the same name
  if (host.empty()) return refuse("the host is missing");
  if (ends_in_number(host)) {
    const auto address = parse_loose_v4(host);
    if (!address) return refuse("the host ends in a number but is not an IPv4 address");
    return address->to_string();
  }
  if (const auto fault = fault_of_name(host); !fault.empty()) return refuse(fault);
  std::string out(host);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

bool is_absolute_name(std::string_view host) {
  return host.ends_with('.') && !ends_in_number(host.substr(0, host.size() - 1));
}

Result<HostPort> parse_authority(std::string_view authority) {
  if (const auto fault = fault_of_shape(authority); !fault.empty()) return refuse(fault);
  std::size_t host_end = authority.find(':');
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos)
      return refuse("the bracket around the IPv6 address is not closed");
    host_end = close + 1;
    if (host_end < authority.size() && authority[host_end] != ':')
      return refuse("only :PORT may follow the bracket");
  }
  if (host_end == std::string_view::npos || host_end >= authority.size())
    return refuse("the port is missing: CONNECT needs HOST:PORT");
  const std::string_view port_text = authority.substr(host_end + 1);
  if (port_text.find(':') != std::string_view::npos)
    return refuse("there is more than one colon: an IPv6 address needs brackets");
  auto host = canonical_host(authority.substr(0, host_end));
  if (!host) return std::unexpected(std::move(host.error()));
  const auto port = parse_port(port_text);
  if (!port) return std::unexpected(port.error());
  return HostPort{*std::move(host), *port, is_absolute_name(authority.substr(0, host_end))};
}

bool is_host_field(std::string_view host_field) {
  if (host_field.empty()) return true;
  std::size_t host_end = host_field.find(':');
  if (host_field.starts_with('[')) {
    const auto close = host_field.find(']');
    if (close == std::string_view::npos) return false;
    host_end = close + 1;
  }
  if (!canonical_host(host_field.substr(0, host_end))) return false;
  if (host_end == std::string_view::npos || host_end == host_field.size()) return true;
  const std::string_view port = host_field.substr(host_end + 1);
  // "host:" with an empty port is legal (RFC 3986 section 3.2.3).
  return host_field[host_end] == ':' && (port.empty() || parse_decimal(port, 65535).has_value());
}

}  // namespace oceanid::proxy
