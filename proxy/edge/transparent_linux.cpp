#include "proxy/core/client_acl.hpp"
#include "proxy/edge/transparent_session.hpp"

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::proxy {
namespace {

// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST: connection tracking's memory of the address before
// translation. Their headers do not go together with netinet/in.h.
constexpr int original_destination_option = 80;

}  // namespace

std::optional<SocketAddress> original_destination(int fd, const ListenerSettings& listener) {
  const SocketAddress here = local_address(fd);
  NativeAddress raw;
  // An IPv4 connection on an IPv6 socket is still IPv4's to the kernel.
  const int level = here.address.is_v4() ? IPPROTO_IP : IPPROTO_IPV6;
  if (::getsockopt(fd, level, original_destination_option, raw.get(), &raw.length) == 0)
    if (const SocketAddress out = plain_address(raw); out.port != 0 && out != here) return out;
  // TPROXY gives the socket the client's destination as its own address (tproxy.rst in the kernel's
  // Documentation/networking). With the listener's port somebody connected to the listener itself:
  // dialling that would be a loop.
  if (listener.takes_by_tproxy() && here.port != listener.bind.port) return here;
  return std::nullopt;
}

}  // namespace oceanid::proxy
