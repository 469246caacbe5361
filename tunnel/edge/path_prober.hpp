#pragma once
// Measures the path to one peer that we dial, from a socket of its own beside the tunnel's: the
// same addresses, the same mark, the responder's port. A peer without a responder is asked ever
// less often and nothing is concluded. One coroutine, one thread.

#include "gateway/base/net_types.hpp"
#include "tunnel/core/path_mtu_link.hpp"
#include "tunnel/edge/path_socket.hpp"

#include <functional>
#include <optional>

namespace oceanid::tunnel {

class PathProber {
 public:
  struct Target {
    SocketAddress peer;  // its endpoint's address and probe port
    Mark mark{0, 0};
    unsigned least_inner = smallest_inner_mtu;
    std::chrono::milliseconds raise{600000};
    bool operator==(const Target&) const = default;
  };

  // `inner`: in use until the path says another. `on_change`: called from run() when path() or
  // inner() is another than before.
  PathProber(const asio::any_io_executor& executor, Target target, PathProbeKey key, unsigned inner,
             std::function<void()> on_change);

  awaitable<void> run();  // until stop() or cancellation; the prober must outlive it
  void stop();
  void on_traffic() { link_.on_traffic(PathMtuLink::Time::clock::now()); }
  void on_suspicion();
  void on_contradiction();
  const Target& target() const { return target_; }
  const PathMtuLink& link() const { return link_; }

 private:
  bool open();
  void look_at_link(PathMtuLink::Time now);
  void exchange();
  void report();

  Target target_;
  PathMtuLink link_;
  std::function<void()> on_change_;
  PathSocket socket_;
  PathMtuLink::Time open_at_{};  // after an error: not earlier
  PathMtuLink::Time look_at_{};
  std::optional<IpAddress> local_;
  unsigned link_mtu_ = default_path_mtu;
  std::optional<unsigned> reported_path_;
  unsigned reported_inner_;
  asio::steady_timer timer_;
  bool stopping_ = false;
};

std::uint64_t random_session();  // not 0

}  // namespace oceanid::tunnel
