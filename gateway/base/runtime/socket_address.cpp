#include "gateway/base/runtime/socket_address.hpp"

#include <array>
#include <cstring>

#include <netinet/in.h>

namespace oceanid {

sockaddr* NativeAddress::get() {
  return reinterpret_cast<sockaddr*>(&storage);
}
const sockaddr* NativeAddress::get() const {
  return reinterpret_cast<const sockaddr*>(&storage);
}

NativeAddress to_native(const SocketAddress& address) {
  NativeAddress native;
  const auto bytes = address.address.bytes();
  if (address.address.is_v4()) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(address.port);
    std::memcpy(&to.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&native.storage, &to, sizeof to);
    native.length = sizeof to;
  } else {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(address.port);
    std::memcpy(&to.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&native.storage, &to, sizeof to);
    native.length = sizeof to;
  }
  return native;
}

std::optional<SocketAddress> from_native(const NativeAddress& native) {
  if (native.storage.ss_family == AF_INET) {
    sockaddr_in from{};
    std::memcpy(&from, &native.storage, sizeof from);
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &from.sin_addr, bytes.size());
    return SocketAddress{IpAddress::v4(bytes), ntohs(from.sin_port)};
  }
  if (native.storage.ss_family == AF_INET6) {
    sockaddr_in6 from{};
    std::memcpy(&from, &native.storage, sizeof from);
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &from.sin6_addr, bytes.size());
    return SocketAddress{IpAddress::v6(bytes), ntohs(from.sin6_port)};
  }
  return std::nullopt;
}

}  // namespace oceanid
