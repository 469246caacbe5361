#pragma once
// Connections to origins that have answered a plain-HTTP request and may carry another one. One
// event loop's; bounded in number and in time, thrown away when exits or rules change.
//
// An origin ends idle connections when it likes (RFC 9112 section 9.3). One timer looks at all of
// them with a single poll(2), so that none stays half closed for longer than a turn. A wait on each
// would notice at once, but costs every request an epoll_ctl(2) and a cancelled handler, and
// nothing is gained: take() looks again.

#include "proxy/edge/exit_choice.hpp"
#include "proxy/edge/socket_linux.hpp"

#include <list>
#include <memory>
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
  struct Times {
    // Below what common servers allow, so that they rarely win the race.
    std::chrono::milliseconds longest_idle{30'000};
    std::chrono::milliseconds between_looks{1'000};
  };
  explicit OriginPool(asio::io_context& io) : OriginPool(io, Times()) {}
  OriginPool(asio::io_context& io, Times times);
  ~OriginPool();
  OriginPool(const OriginPool&) = delete;
  OriginPool& operator=(const OriginPool&) = delete;

  void set_limit(std::size_t most_idle);

  // One that is still open, the youngest first, idle for at most `longest`.
  // `role`: rules for addresses differ between roles, so they do not share connections.
  std::optional<OriginConnection> take(
      const ExitChoice& exit, const std::string& role, const HostPort& origin,
      SteadyClock::duration longest = SteadyClock::duration::max());
  // `announced`: how long the origin has said to keep it (Keep-Alive: timeout=).
  void put(const std::string& role, const HostPort& origin, OriginConnection connection,
           std::optional<std::chrono::seconds> announced = {});
  void clear();
  std::size_t size() const { return idle_.size(); }

 private:
  struct Idle {
    std::string role;
    HostPort origin;
    OriginConnection connection;
    SteadyClock::time_point since;
    SteadyClock::time_point expires;
  };
  void keep_within_limit();
  void look_later();
  void drop_ended();

  Times times_;
  std::size_t most_idle_ = 256;
  std::list<Idle> idle_;  // the oldest first
  Timer timer_;
  bool looking_ = false;
  std::shared_ptr<OriginPool*> self_;  // null inside once it is gone
};

}  // namespace oceanid::proxy
