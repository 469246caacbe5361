#pragma once
// Who asks, as far as it has been proven: what policy roles are matched against.

#include "gateway/base/net_types.hpp"

#include <string>
#include <vector>

namespace oceanid::proxy {

struct Identity {
  IpAddress source;                       // the client's, or what a trusted PROXY header said
  std::string user;                       // authenticated; empty: nobody
  std::vector<std::string> certificates;  // names in a verified client certificate
};

}  // namespace oceanid::proxy
