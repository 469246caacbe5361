#pragma once
// SocketAddress to and from the kernel's sockaddr.

#include "gateway/base/net_types.hpp"

#include <cstring>
#include <optional>

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::tunnel {

struct NativeAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  sockaddr* pointer() { return static_cast<sockaddr*>(static_cast<void*>(&storage)); }
  const sockaddr* pointer() const {
    return static_cast<const sockaddr*>(static_cast<const void*>(&storage));
  }
};

inline NativeAddress to_native(const SocketAddress& from) {
  NativeAddress native;
  const auto bytes = from.address.bytes();
  if (from.address.is_v4()) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(from.port);
    std::memcpy(&to.sin_addr, bytes.data(), bytes.size());
    std::memcpy(&native.storage, &to, sizeof to);
    native.length = sizeof to;
  } else {
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(from.port);
    std::memcpy(&to.sin6_addr, bytes.data(), bytes.size());
    std::memcpy(&native.storage, &to, sizeof to);
    native.length = sizeof to;
  }
  return native;
}

inline std::optional<SocketAddress> from_native(const NativeAddress& native) {
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

}  // namespace oceanid::tunnel
