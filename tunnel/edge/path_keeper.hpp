#pragma once
// The MTU of every tunnel, kept true: probers for the peers that we dial, the responder for those
// that dial us, and the memory of both across restarts. One thread.

#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/path_book.hpp"
#include "tunnel/core/plan.hpp"
#include "tunnel/edge/path_prober.hpp"
#include "tunnel/edge/path_responder.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::tunnel {

// What is known of the path to one peer.
struct PathStatus {
  Family outer = Family::v4;
  bool answered = false;          // the other end has a responder and answers now
  std::optional<unsigned> size;   // both directions carry it, bytes of an outer packet
  std::optional<unsigned> there;  // from here to the peer
  std::optional<unsigned> back;   // as the peer found it
  SearchState state = SearchState::base;
  bool below_floor = false;  // IPv6 needs more inside than the path carries
  std::uint64_t black_holes = 0;
  bool contradicted =
      false;  // `size` is below what probes say: the tunnel's own packets do not pass
};

class PathKeeper {
 public:
  PathKeeper(const asio::any_io_executor& executor, const std::string& state_dir,
             std::function<void()> on_change);

  struct Secrets {
    PrivateKey own;
    std::map<std::string, PublicKey> peers;
    PresharedKeys preshared;
    bool operator==(const Secrets&) const = default;
  };
  // Matches the probers to the dialled devices and the responder to the peers. Cheap when nothing
  // has changed.
  void configure(const TunnelSettings& settings, const Mark& mark, const Secrets& secrets,
                 const std::vector<DesiredDevice>& devices);

  // Inside the tunnel: of the device of a peer that we dial, and of a peer on the hub.
  unsigned mtu_of_dialled(const DesiredDevice& device) const;
  unsigned mtu_on_hub(const std::string& peer, unsigned otherwise) const;
  std::optional<PathStatus> dialled(const std::string& peer) const;
  std::optional<PathStatus> on_hub(const std::string& peer) const;

  void on_traffic(const std::string& peer, bool hub);
  // Full-size packets do not pass the tunnel; `missing`: how many echoes of that size, in a row.
  void on_suspicion(const std::string& peer, unsigned missing);
  awaitable<void> stop();

 private:
  void changed();
  void remember();
  const PathProbeKey* key_of(const std::string& peer);
  unsigned first_inner(const std::string& place, Family outer) const;

  asio::any_io_executor executor_;
  std::string file_;
  std::function<void()> on_change_;
  std::optional<unsigned> fixed_;  // tunnel.mtu: measured all the same, and not followed
  Secrets secrets_;
  std::map<std::string, PathProbeKey> keys_;
  PathBook book_;
  std::map<std::string, std::shared_ptr<PathProber>> probers_;  // by peer
  PathResponder responder_;
  std::string responder_error_;           // as last logged
  std::map<std::string, unsigned> told_;  // by place, as last logged
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
