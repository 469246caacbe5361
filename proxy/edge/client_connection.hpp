#pragma once
// An accepted connection on its way to the session of its protocol.

#include "proxy/core/identity.hpp"
#include "proxy/core/settings.hpp"
#include "proxy/edge/socket_linux.hpp"

#include <string>
#include <vector>

namespace oceanid::proxy {

struct ClientConnection {
  Descriptor socket;
  SocketAddress peer;  // who asks
  ListenerSettings listener;
  std::string early;                      // read already, comes before what the socket gives
  std::vector<std::string> certificates;  // names in a verified client certificate
};

}  // namespace oceanid::proxy
