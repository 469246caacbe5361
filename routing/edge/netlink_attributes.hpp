#pragma once
// The attributes of one received netlink message, by type. Lengths are checked on every access; an
// attribute of an unexpected length reads as absent. The message must outlive this view.

#include "gateway/base/net_types.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include <libmnl/libmnl.h>

namespace oceanid::routing {

class Attributes {
 public:
  static constexpr std::size_t slots = 64;  // every type that we read is far below

  // Those behind a fixed part of `offset` bytes.
  static Attributes of(const nlmsghdr& message, std::size_t offset);
  Attributes nested(std::uint16_t type) const;

  bool has(std::uint16_t type) const { return type < slots && found_[type] != nullptr; }
  std::optional<std::uint8_t> u8(std::uint16_t type) const { return number<std::uint8_t>(type); }
  std::optional<std::uint32_t> u32(std::uint16_t type) const { return number<std::uint32_t>(type); }
  std::optional<std::uint64_t> be64(std::uint16_t type) const;
  std::optional<std::uint32_t> be32(std::uint16_t type) const;
  std::string text(std::uint16_t type) const;  // up to the terminating zero; empty: absent
  std::optional<IfName> interface(std::uint16_t type) const;
  std::optional<IpAddress> address(std::uint16_t type, Family family) const;
  std::span<const std::uint8_t> bytes(std::uint16_t type) const;

  template <typename T>
  std::optional<T> number(std::uint16_t type) const {
    const auto payload = bytes(type);
    if (payload.size() != sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof(T));
    return value;
  }

 private:
  std::array<const nlattr*, slots> found_{};
};

// Address with the bits beyond `length` cleared.
Prefix network_of(const IpAddress& address, unsigned length);

}  // namespace oceanid::routing
