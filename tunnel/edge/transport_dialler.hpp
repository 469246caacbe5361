#pragma once
// One peer that we dial: the shim session that our WireGuard may be pointed at, the TLS connections
// that netd's ladder asks for, and the probes that tell whether UDP passes. Keeps trying while it
// is told to, with growing pauses. Belongs to one thread.

#include "gateway/base/runtime/task_group.hpp"
#include "tunnel/core/transport_ladder.hpp"
#include "tunnel/edge/shim_session.hpp"
#include "tunnel/edge/transport_host.hpp"
#include "tunnel/edge/transport_tls.hpp"
#include "tunnel/edge/udp_reach.hpp"

#include <array>
#include <memory>
#include <string>

namespace oceanid::tunnel {

struct DialSettings {
  std::string peer;
  TransportKey key;
  std::string host;           // of the TLS endpoint, for its certificate
  TlsMaterial material;       // `authority` empty: the key alone proves the peer
  std::string proxy_target;   // HOST:PORT to ask a proxy for
  std::string authorization;  // at the proxy
  std::size_t connections = 2;
  bool operator==(const DialSettings&) const = default;
};

class TransportDialler {
 public:
  struct Orders {
    bool dial_tls = false;
    bool dial_proxied = false;
    bool deaf = false;
    std::chrono::nanoseconds probe_every{0};
    bool operator==(const Orders&) const = default;
  };

  // `udp`: the loopback socket that WireGuard sends to. `host` must outlive us.
  static Result<std::unique_ptr<TransportDialler>> make(const asio::any_io_executor& executor,
                                                        DialSettings settings, UniqueFd udp,
                                                        TransportHost& host);

  void start();
  void order(const Orders& orders);
  awaitable<void> stop();

  const DialSettings& settings() const { return settings_; }
  ShimSession::Counters counters() const { return session_.counters(); }

 private:
  TransportDialler(const asio::any_io_executor& executor, DialSettings settings, UniqueFd udp,
                   TransportHost& host, SslContext context, SessionId session);

  bool wanted(Transport rung) const;
  std::size_t& links_of(Transport rung) { return links_[index_of(rung)]; }
  awaitable<void> keep(Transport rung, std::size_t number);
  awaitable<Result<std::shared_ptr<ShimLink>>> dial(Transport rung);
  awaitable<Result<std::shared_ptr<ShimLink>>> open(Transport rung, UniqueFd fd);
  awaitable<void> serve(Transport rung, std::shared_ptr<ShimLink> link);
  awaitable<void> changed();

  asio::any_io_executor executor_;
  DialSettings settings_;
  TransportHost& host_;
  SslContext context_;
  SessionId session_id_;
  ShimSession session_;
  UdpReach reach_;
  Orders orders_;
  std::array<std::size_t, transports> links_{};
  std::array<std::string, transports> trouble_;  // as last told
  asio::steady_timer change_;                    // cancelled when orders or links have changed
  TaskGroup tasks_;
};

}  // namespace oceanid::tunnel
