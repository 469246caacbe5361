#include "proxy/edge/client_wire.hpp"

#include <sys/socket.h>

namespace oceanid::proxy {

std::shared_ptr<ClientWire> ClientWires::find(int fd) const {
  const auto found = wires_.find(fd);
  if (found == wires_.end()) return nullptr;
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX)
    return nullptr;
  return found->second;
}

}  // namespace oceanid::proxy
