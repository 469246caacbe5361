#include "tunnel/edge/route_check_linux.hpp"

#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

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

std::vector<SocketAddress> with_route(std::vector<SocketAddress> to, const Mark& fwmark) {
  std::vector<SocketAddress> routed;
  std::ranges::copy_if(to, std::back_inserter(routed),
                       [&](const SocketAddress& one) { return has_route(one, fwmark); });
  return routed.empty() ? std::move(to) : routed;
}

}  // namespace oceanid::tunnel
