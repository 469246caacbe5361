#pragma once
// Every listening socket of the gateway, opened and owned by netd and lent to the worker: a
// connection that arrives while no worker runs waits in the kernel's queue and is never refused.
// One socket per listener and core (SO_REUSEPORT), so that event loops share nothing. Sockets can
// come from a former life: systemd's descriptor store or an execve of ourselves (LISTEN_FDS,
// LISTEN_FDNAMES, see sd_listen_fds(3)).

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/config/config.hpp"
#include "gateway/ipc/messages.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::process {

struct WantedListener {
  ipc::ListenerTag tag;
  SocketAddress bind;
  bool transparent = false;  // takes connections to any address (TPROXY)
};

// tunnel.tls.bind is not the worker's but the transport's.
inline constexpr std::string_view transport_listener_kind = "transport";

// What a configuration asks for, in a stable order; pure.
std::vector<WantedListener> wanted_listeners(const Config& config, std::uint32_t cores);

class ListenerSet {
 public:
  // Takes over those of the descriptors in the environment that `wanted` names (store_name()). The
  // others stop listening for good, whoever else holds them: connections would wait there for
  // nobody. Returns their names, for the service manager to forget.
  std::vector<std::string> adopt_inherited(const std::vector<WantedListener>& wanted);

  // Opens what is missing. On an error nothing has changed: the set of before stays.
  Result<void> open(const std::vector<WantedListener>& wanted);
  // Closes what `wanted` no longer names (call once the new configuration is in force); its keys.
  // A worker that still has its own copy takes what is queued before it closes that.
  std::vector<std::string> retain(const std::vector<WantedListener>& wanted);

  const std::map<std::string, UniqueFd>& sockets() const { return sockets_; }

 private:
  std::map<std::string, UniqueFd> sockets_;  // by key
};

// Lets an inherited or stored descriptor's name carry a key: systemd allows no ':' in FDNAME, and
// execve must not lose one. "proxy [::]:3128 #0" ↔ "oceanid.70726f78...".
std::string store_name(const std::string& key);
std::string key_of_store_name(const std::string& name);  // empty: not one of ours

}  // namespace oceanid::process
