#pragma once
// Which way each dialled tunnel's packets take: one ladder (tunnel/core/transport_ladder.hpp) for
// every peer with a TLS transport, fed with the tunnel's echoes and with what the transport process
// tells; what the ladder decides becomes orders to that process and an address that WireGuard is
// given. The session is kept whichever way it goes. Where peers dial us, the process also accepts.
// Lives on netd's event loop.

#include "gateway/base/runtime/task_group.hpp"
#include "gateway/config/config.hpp"
#include "gateway/ipc/snapshot.hpp"
#include "gateway/process/transport_supervisor.hpp"
#include "proxy/core/parent.hpp"
#include "tunnel/core/transport_ladder.hpp"
#include "tunnel/edge/manager.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace oceanid::process {

// Hosts of TLS endpoints and of proxies on the way there, to be resolved and bypassed.
std::vector<HostPort> transport_hosts(const Config& config);

class TunnelTransports {
 public:
  struct Events {
    std::function<Result<UniqueFd>(const SocketAddress&)> listener;  // of tunnel.tls.bind
    std::function<void(const std::string& text)> warning;
  };

  TunnelTransports(asio::io_context& io, LauncherClient& launcher, Events events);

  // Reads keys and certificates; an error changes nothing. `tunnels` stays until the next call or
  // forget().
  Result<void> apply(const Config& config, tunnel::TunnelManager& tunnels);
  void forget();  // there are no tunnels any more
  awaitable<void> stop();

  // What `view` shows of the peer; nothing for one that has no ladder.
  void describe(ipc::TunnelView& view) const;
  std::uint64_t restarts() const { return supervisor_.restarts(); }

 private:
  struct Way {
    explicit Way(const tunnel::LadderPolicy& of)
        : ladder(of, tunnel::TransportLadder::Clock::now()), policy(of) {}
    tunnel::TransportLadder ladder;
    UniqueFd shim;
    SocketAddress shim_address;
    std::uint16_t wireguard_port = 0;  // that the shim is connected to
    tunnel::LadderPolicy policy;
    std::optional<tunnel::Transport> in_use;
    std::optional<HostPort> endpoint;  // TLS
    std::optional<proxy::ParentProxy> proxy;
    std::size_t tls_attempts = 0;
    std::string trouble;
  };

  Result<TransportConfiguration> configuration_for(const Config& config,
                                                   tunnel::TunnelManager& tunnels);
  Result<ipc::TransportDial> dial_of(const tunnel::PeerSettings& peer,
                                     const tunnel::TunnelManager& tunnels) const;
  Result<void> accept(const Config& config, const tunnel::TunnelManager& tunnels,
                      TransportConfiguration& out);
  Result<int> way_of(const Config& config, const tunnel::PeerSettings& peer);  // its shim's socket
  Result<UniqueFd> socket(tunnel::SocketPurpose purpose, const std::string& peer);
  Result<UniqueFd> dialled(const HostPort& to, std::size_t attempt) const;
  awaitable<void> watch();
  void look();
  void look_at(const std::string& peer, Way& way, const tunnel::TunnelStatus& status);
  void lead(const std::string& peer, const Way& way);
  awaitable<void> lead_away(std::string peer, tunnel::Transport to);
  void follow(const std::string& peer, Way& way, const tunnel::TransportLadder::Orders& orders);
  void reconnect_shim(Way& way, std::uint16_t port) const;
  void all_links_gone();

  asio::io_context& io_;
  Events events_;
  TransportSupervisor supervisor_;
  Config config_;
  Mark mark_{0, 0};
  tunnel::TunnelManager* tunnels_ = nullptr;
  std::map<std::string, Way> ways_;  // by peer
  UniqueFd responder_;
  std::uint16_t responder_port_ = 0;
  bool watching_ = false;
  TaskGroup tasks_;
};

}  // namespace oceanid::process
