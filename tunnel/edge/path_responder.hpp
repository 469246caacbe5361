#pragma once
// Answers outer path probes of the peers, and measures the way back to those that are there: one
// socket for each family on the probe port, one conversation for each peer and family. Who has no
// key of ours gets no answer, and no work beyond a look at eight bytes. A peer is where its last
// fresh question came from, as with WireGuard's roaming.

#include "gateway/base/error.hpp"
#include "gateway/base/net_types.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/path_mtu_link.hpp"
#include "tunnel/edge/path_socket.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace oceanid::tunnel {

class PathResponder {
 public:
  struct Peer {
    PathProbeKey key;
    unsigned inner;  // in use until the path says another
  };
  struct Settings {
    std::uint16_t port = 0;
    Mark mark{0, 0};
    unsigned least_inner = smallest_inner_mtu;
    std::chrono::milliseconds raise{600000};
    bool operator==(const Settings&) const = default;
  };

  PathResponder(const asio::any_io_executor& executor, std::function<void()> on_change);

  // Peers by name; those that are known already keep their conversation when `settings` are the
  // same. On an error the other family still works; calling again tries again.
  Result<void> configure(const Settings& settings, const std::map<std::string, Peer>& peers);
  // The conversation with the peer, of the family by which it was heard last; null: none.
  const PathMtuLink* link(const std::string& peer) const;
  void on_traffic(const std::string& peer);
  awaitable<void> stop();

 private:
  struct Conversation {
    std::string peer;
    PathMtuLink link;
    std::optional<SocketAddress> where;  // it; none: not known, nothing is sent unasked
    IpAddress here;
    unsigned link_mtu = default_path_mtu;
    PathMtuLink::Time heard{};
    std::optional<unsigned> reported_path;
    unsigned reported_inner = 0;
  };

  awaitable<void> serve();
  void take(PathSocket& socket, Family family);
  void ask(PathMtuLink::Time now);
  void look_at_links(PathMtuLink::Time now);
  void report();
  Conversation* find(std::uint64_t recipient, Family family);
  PathSocket& socket_of(Family family) { return sockets_[family == Family::v4 ? 0 : 1]; }

  asio::any_io_executor executor_;
  std::function<void()> on_change_;
  Settings settings_;
  std::map<std::string, PathProbeKey> keys_;
  std::array<PathSocket, 2> sockets_;
  std::map<std::pair<std::uint64_t, Family>, Conversation> conversations_;  // by recipient
  PathMtuLink::Time look_at_{};
  asio::steady_timer timer_;
  bool running_ = false;
  bool stopping_ = false;
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
