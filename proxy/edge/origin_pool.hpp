#pragma once
// Connections to origins that have answered a plain-HTTP request and may carry another one. One
// event loop's; bounded in number and in time, thrown away when exits or rules change.

#include "proxy/edge/exit_choice.hpp"
#include "proxy/edge/socket_linux.hpp"

#include <list>
#include <map>
#include <optional>
#include <string>

namespace oceanid::proxy {

struct OriginConnection {
  Descriptor socket;
  SocketAddress address;
  ExitChoice exit;
};

class OriginPool {
 public:
  // One that is still open, the youngest first.
  // `role`: rules for addresses differ between roles, so they do not share connections.
  std::optional<OriginConnection> take(const ExitChoice& exit, const std::string& role,
                                       const HostPort& origin);
  void put(const std::string& role, const HostPort& origin, OriginConnection connection);
  void clear() { idle_.clear(); }
  std::size_t size() const { return idle_.size(); }

 private:
  struct Idle {
    std::string role;
    HostPort origin;
    OriginConnection connection;
    SteadyClock::time_point expires;
  };
  void drop_expired();
  std::list<Idle> idle_;  // the oldest first
};

}  // namespace oceanid::proxy
