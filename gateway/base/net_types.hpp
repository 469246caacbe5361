#pragma once
// Strong network value types: an address, a prefix, a socket address, a host with a port, an
// interface name, a firewall mark. All are plain values, comparable, parsed strictly (no name
// look-up, no octal, no short forms) and printed canonically (RFC 5952 for IPv6).

#include "gateway/base/error.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace oceanid {

enum class Family : std::uint8_t { v4, v6 };
std::string_view to_string(Family family);

class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  static IpAddress v4(std::array<std::uint8_t, 4> bytes);
  static IpAddress v6(std::array<std::uint8_t, 16> bytes);
  static std::optional<IpAddress> parse(std::string_view text);  // no brackets, no zone id
  static IpAddress any(Family family);

  Family family() const { return family_; }
  bool is_v4() const { return family_ == Family::v4; }
  bool is_unspecified() const;
  unsigned bits() const { return is_v4() ? 32 : 128; }
  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), is_v4() ? 4U : 16U}; }
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  Family family_ = Family::v4;
  std::array<std::uint8_t, 16> bytes_{};  // network order; IPv4 in the first four
};

// An address block with zero host bits.
class Prefix {
 public:
  Prefix() = default;  // 0.0.0.0/0
  static Result<Prefix> parse(
      std::string_view text);  // "10.0.0.0/8"; a bare address is a host prefix
  static Result<Prefix> make(IpAddress address, unsigned length);
  static Prefix host(IpAddress address) { return Prefix(address, address.bits()); }
  static Prefix any(Family family) { return Prefix(IpAddress::any(family), 0); }

  const IpAddress& address() const { return address_; }
  unsigned length() const { return length_; }
  Family family() const { return address_.family(); }
  bool is_host() const { return length_ == address_.bits(); }
  bool contains(const IpAddress& address) const;
  bool contains(const Prefix& other) const;
  bool overlaps(const Prefix& other) const { return contains(other) || other.contains(*this); }
  std::string to_string() const;  // always with the length

  auto operator<=>(const Prefix&) const = default;

 private:
  Prefix(IpAddress address, unsigned length) : address_(address), length_(length) {}
  IpAddress address_;
  unsigned length_ = 0;
};

// An address on a link: 10.99.0.3/32 keeps its host bits, unlike Prefix.
struct InterfaceAddress {
  IpAddress address;
  unsigned length = 32;
  std::string to_string() const;
  auto operator<=>(const InterfaceAddress&) const = default;
};

struct SocketAddress {
  IpAddress address;
  std::uint16_t port = 0;
  static Result<SocketAddress> parse(std::string_view text);  // "1.2.3.4:80", "[::]:80"
  std::string to_string() const;
  auto operator<=>(const SocketAddress&) const = default;
};

struct HostPort {
  std::string host;  // a name or an address literal without brackets
  std::uint16_t port = 0;
  bool absolute = false;  // a name that was given with the root's dot: no search list (RFC 1535)
  static Result<HostPort> parse(
      std::string_view text);  // "db.example:5432", "[::1]:80"; port 1..65535
  std::string to_string() const;
  // What a resolver is asked: the root's dot is there when it was given.
  std::string resolver_name() const { return absolute ? host + '.' : host; }
  auto operator<=>(const HostPort&) const = default;
};

// A network interface's name: 1 to 15 bytes, no '/', no white space (IFNAMSIZ, dev_valid_name()).
class IfName {
 public:
  IfName() = default;
  static Result<IfName> parse(std::string_view text);
  const std::string& str() const { return name_; }
  bool empty() const { return name_.empty(); }
  auto operator<=>(const IfName&) const = default;

 private:
  explicit IfName(std::string_view text) : name_(text) {}
  std::string name_;
};

// A firewall mark that is always written and compared under its mask.
struct Mark {
  std::uint32_t value = 0;
  std::uint32_t mask = 0xffffffff;
  static Result<Mark> parse(std::string_view text);  // "0x01000000/0x0f000000"
  std::string to_string() const;
  auto operator<=>(const Mark&) const = default;
};

// Decimal without sign, leading zeros or white space; nothing beyond `max`.
std::optional<std::uint64_t> parse_decimal(std::string_view text, std::uint64_t max);

}  // namespace oceanid
