#pragma once
// The proxy and the forwards of one event loop. A worker runs one Server per thread; they share
// nothing but immutable Runtimes and their Commons.
//
// All functions belong to the loop's thread (or to the time before it runs), except snapshot().
// Destroy only after drain() has ended, or after the loop has been stopped with no session open.

#include "proxy/core/connection_view.hpp"
#include "proxy/core/explanation.hpp"
#include "proxy/core/inventory.hpp"
#include "proxy/core/stats.hpp"
#include "proxy/edge/breaker_book.hpp"
#include "proxy/edge/runtime.hpp"
#include "proxy/edge/socket_linux.hpp"
#include "proxy/edge/tunnel_ledger.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace oceanid::proxy {

class ServerCore;

// What holds for all loops of a process together: tunnels counted against the limits, and the
// destinations that are left alone. Null: this loop has its own.
struct Commons {
  std::shared_ptr<TunnelLedger> ledger;
  std::shared_ptr<BreakerBook> breakers;
};

class Server {
 public:
  // Makes the process ignore SIGPIPE.
  Server(asio::io_context& io, std::shared_ptr<const Runtime> runtime, Commons commons = {});
  ~Server();

  // Starts to accept.
  void adopt(std::vector<ListenSocket> sockets);
  // For new requests; tunnels go on, except those through an exit that is no longer usable: they
  // are reset, so that clients reconnect at once.
  void apply(std::shared_ptr<const Runtime> runtime);

  void close_listeners(const std::vector<std::string>& keys);
  void stop_accepting();  // takes what the kernel has queued, then closes every listener

  // stop_accepting(), waits until all has ended, at most `patience`; then ends what is left.
  awaitable<void> drain(std::chrono::milliseconds patience);

  StatsSnapshot snapshot() const;

  // Live tunnels, the oldest first.
  ConnectionList connections(const ConnectionFilter& filter) const;
  // Resets both ends of the tunnel of that request; false: this loop has none.
  bool end_tunnel(const std::string& id);
  // Tunnels that the configuration in force would not open any more; `cut` resets them.
  ConnectionList forbidden(bool cut);
  RoleInventory inventory_of(const std::string& role) const;
  // `done` is called on the loop, once; never when the server drains meanwhile.
  void explain(ExplainQuery query, std::function<void(Result<Explanation>)> done);

 private:
  std::unique_ptr<ServerCore> core_;
};

}  // namespace oceanid::proxy
