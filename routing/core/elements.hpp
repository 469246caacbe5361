#pragma once
// Elements of the named sets of our nft table, and changes of them. Plain values.

#include "gateway/base/net_types.hpp"

#include <array>
#include <chrono>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace oceanid::routing {

// A key of a set without intervals, field by field in the order of the set's type. The kernel pads
// every field of a concatenation to whole registers of four bytes (NFT_REG32_SIZE); a set with one
// field alone is padded only when it is as long as a register already, which addresses are.
class ElementKey {
 public:
  static constexpr std::size_t most = 44;  // ipv6 . ipv6 . inet_proto . inet_service . inet_service

  ElementKey& address(const IpAddress& address);
  ElementKey& protocol(std::uint8_t number);
  ElementKey& port(std::uint16_t number);

  std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }
  bool complete() const { return complete_; }  // false: more fields than fit
  auto operator<=>(const ElementKey&) const = default;

 private:
  void field(std::span<const std::uint8_t> bytes);

  std::array<std::uint8_t, most> bytes_{};
  std::uint8_t size_ = 0;
  bool complete_ = true;
};

struct KeyElement {
  ElementKey key;
  // Zero: the set's own, or none. The set must carry `flags timeout`.
  std::chrono::milliseconds timeout{0};
  bool operator==(const KeyElement&) const = default;
};

enum class ElementAction : std::uint8_t { add, remove };

// For one set of `table inet oceanid`: prefixes of an interval set, or keys of one without.
// Changes are carried out in their order; what frees an address range comes before what takes it.
struct ElementChange {
  std::string set;
  ElementAction action = ElementAction::add;
  std::vector<Prefix> prefixes;
  std::vector<KeyElement> keys;
  bool operator==(const ElementChange&) const = default;
};

}  // namespace oceanid::routing
