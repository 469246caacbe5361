#include "routing/core/elements.hpp"

#include <algorithm>

namespace oceanid::routing {

void ElementKey::field(std::span<const std::uint8_t> bytes) {
  const std::size_t padded = (bytes.size() + 3) / 4 * 4;
  if (size_ + padded > most) {
    complete_ = false;
    return;
  }
  std::ranges::copy(bytes, bytes_.begin() + size_);
  size_ = static_cast<std::uint8_t>(size_ + padded);
}

ElementKey& ElementKey::address(const IpAddress& address) {
  field(address.bytes());
  return *this;
}

ElementKey& ElementKey::protocol(std::uint8_t number) {
  field(std::array{number});
  return *this;
}

ElementKey& ElementKey::port(std::uint16_t number) {
  field(
      std::array{static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number & 0xff)});
  return *this;
}

}  // namespace oceanid::routing
