#include "tunnel/edge/route_check_linux.hpp"

#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <cerrno>

namespace oceanid::tunnel {

bool has_route(const SocketAddress& to, const Mark& fwmark) {
  const NativeAddress native = to_native(to);
  const int family = to.address.is_v4() ? AF_INET : AF_INET6;
  const UniqueFd socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return errno != EAFNOSUPPORT;
  if (fwmark.value != 0) {
    ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &fwmark.value, sizeof fwmark.value);
  }
  // connect() on a datagram socket is a look-up of the route and no more.
  if (::connect(socket.get(), native.get(), native.length) == 0) return true;
  return errno != ENETUNREACH && errno != EHOSTUNREACH && errno != EADDRNOTAVAIL;
}

}  // namespace oceanid::tunnel
