#pragma once
// The inside of a Server: what sessions of one event loop share. Sessions hold a reference; the
// core outlives them (Server::drain joins). One thread, except where a member says otherwise.

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/task_group.hpp"
#include "proxy/core/access_record.hpp"
#include "proxy/core/bad_addresses.hpp"
#include "proxy/core/connection_view.hpp"
#include "proxy/core/guard.hpp"
#include "proxy/core/inventory.hpp"
#include "proxy/core/lobby.hpp"
#include "proxy/core/policy.hpp"
#include "proxy/edge/breaker_book.hpp"
#include "proxy/edge/client_wire.hpp"
#include "proxy/edge/dialer.hpp"
#include "proxy/edge/exit_choice.hpp"
#include "proxy/edge/forward_probes.hpp"
#include "proxy/edge/origin_pool.hpp"
#include "proxy/edge/relay.hpp"
#include "proxy/edge/relay_pool.hpp"
#include "proxy/edge/resolver.hpp"
#include "proxy/edge/runtime.hpp"
#include "proxy/edge/stats_book.hpp"
#include "proxy/edge/tls_context.hpp"
#include "proxy/edge/tunnel_ledger.hpp"
#include "proxy/edge/wakeups.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace oceanid::proxy {

// One Runtime with what is computed from it once.
struct Snapshot {
  Snapshot(std::shared_ptr<const Runtime> from)
      : runtime(std::move(from)),
        guard(runtime->proxy->guard, runtime->own_ranges),
        policy(*runtime->proxy) {}
  const ProxySettings& settings() const { return *runtime->proxy; }
  std::shared_ptr<const Runtime> runtime;
  Guard guard;
  Policy policy;
};

// What was asked, kept so that another policy can be asked the same.
struct Asking {
  Identity who;
  HostPort destination;
  Asked how = Asked::tunnel;
  bool inventory = false;  // its role collects what it reaches
};

// A request or a forwarded connection from its first byte to its record.
struct Trace {
  AccessRecord record;
  SteadyClock::time_point started = SteadyClock::now();
  std::string forward;                   // the forward's name; empty: the proxy's
  std::shared_ptr<const Asking> asking;  // null: not admitted, or a forward
  bool noted = false;                    // in the inventory
};

class Listener;

class ServerCore {
 public:
  ServerCore(asio::io_context& io, std::shared_ptr<const Runtime> runtime,
             std::shared_ptr<TunnelLedger> ledger, std::shared_ptr<BreakerBook> breakers);
  ~ServerCore();

  asio::io_context& io() { return io_; }
  TaskGroup& tasks() { return tasks_; }
  RelayPool& pool() { return pool_; }
  StatsBook& stats() { return stats_; }
  TunnelLedger& ledger() { return *ledger_; }
  Lobby& lobby() { return lobby_; }
  OriginPool& origins() { return origins_; }
  // Clients between two requests: nothing is lost when they are closed at the end.
  std::set<int>& idle_clients() { return idle_clients_; }
  void close_idle_clients();
  bool draining() const { return draining_; }
  const TlsContexts& tls() const { return tls_; }
  ClientWires& wires() { return wires_; }
  ForwardProbes& probes() { return probes_; }
  Wakeups& exits_changed() { return exits_changed_; }
  std::shared_ptr<const Snapshot> snapshot() const { return snapshot_; }

  void apply(std::shared_ptr<const Runtime> runtime);
  void listen(ListenSocket socket);
  void close_listeners(const std::function<bool(const std::string& key)>& which);
  Resolver& resolver_for(const ExitChoice& exit);
  BadAddresses& bad_addresses_for(const ExitChoice& exit) { return bad_addresses_[exit.device]; }
  BreakerBook& breakers() { return *breakers_; }
  std::uint64_t random() { return random_(); }  // for jitter

  Trace begin(const SocketAddress& client, std::string method);
  // The rules let it through: its verdict, and a line for those who debug.
  void admitted(Trace& trace) const;
  // Writes the record and counts the outcome; `reason` ok: a tunnel that was opened.
  void finish(Trace& trace, Reason reason);

  struct Opening {
    Descriptor client;
    Descriptor server;
    std::string early;
    std::string greeting;
    ExitChoice exit;
    TunnelLedger::Slot slot;
  };
  void open_tunnel(Trace trace, Opening opening);

  std::size_t tunnels() const { return tunnels_.size(); }
  Wakeups& tunnel_ended() { return tunnel_ended_; }
  void cut_all(ClosedBy why);
  ConnectionList connections(const ConnectionFilter& filter) const;
  bool end_tunnel(const std::string& id);
  // The tunnels that today's configuration would not open, with the rule that forbids each; `cut`
  // resets them.
  ConnectionList forbidden(bool cut);
  RoleInventory inventory_of(const std::string& role) const { return inventory_.of(role); }

  StatsSnapshot statistics() const;  // any thread

 private:
  // Everything that a tunnel keeps while it lives.
  struct Tunnel {
    Tunnel(RelayPool& pool, Trace trace_in, Opening& opening, RelayTimeouts timeouts,
           Relay::Done done)
        : trace(std::move(trace_in)),
          exit(std::move(opening.exit)),
          slot(std::move(opening.slot)),
          relay(pool, std::move(opening.client), std::move(opening.server), timeouts,
                std::move(done)) {}
    Trace trace;
    ExitChoice exit;
    TunnelLedger::Slot slot;
    Relay relay;
    std::shared_ptr<ClientWire> wire;  // null: the client is not behind TLS
  };
  using TunnelPlace = std::list<std::unique_ptr<Tunnel>>::iterator;
  void on_tunnel_end(TunnelPlace place);
  void write_record(const AccessRecord& record, log::Level level) const;
  std::string forbidden_by(const Tunnel& tunnel) const;  // empty: nothing forbids it
  void note_reached(Trace& trace);
  static ConnectionView view_of(const Tunnel& tunnel);

  asio::io_context& io_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::shared_ptr<TunnelLedger> ledger_;
  std::shared_ptr<BreakerBook> breakers_;
  Lobby lobby_;
  OriginPool origins_;
  std::set<int> idle_clients_;  // their descriptors
  bool draining_ = false;
  RelayPool pool_;
  StatsBook stats_;
  TlsContexts tls_;
  ClientWires wires_;
  Inventory inventory_;
  std::map<std::string, std::unique_ptr<Resolver>> resolvers_;  // by device
  std::map<std::string, BadAddresses> bad_addresses_;           // by device
  std::mt19937_64 random_;
  std::list<std::unique_ptr<Tunnel>> tunnels_;
  std::vector<std::shared_ptr<Listener>> listeners_;  // shared with their accept loops
  Wakeups exits_changed_;
  Wakeups tunnel_ended_;
  std::uint64_t next_id_;
  TaskGroup tasks_;
  ForwardProbes probes_;
};

}  // namespace oceanid::proxy
