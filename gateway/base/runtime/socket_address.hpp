#pragma once
// SocketAddress to and from the kernel's sockaddr. Pure conversions, no system calls.

#include "gateway/base/net_types.hpp"

#include <optional>

#include <sys/socket.h>

namespace oceanid {

// A fresh one has room for any address: pass get() and &length to accept4, getsockname, recvfrom.
struct NativeAddress {
  sockaddr_storage storage{};
  socklen_t length = sizeof(sockaddr_storage);
  sockaddr* get();
  const sockaddr* get() const;
};

NativeAddress to_native(const SocketAddress& address);

// Nothing when it is of another family. IPv4-mapped addresses stay IPv6.
std::optional<SocketAddress> from_native(const NativeAddress& native);

}  // namespace oceanid
