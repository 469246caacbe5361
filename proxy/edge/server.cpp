#include "proxy/edge/server.hpp"

#include "proxy/edge/explain.hpp"
#include "proxy/edge/listener.hpp"
#include "proxy/edge/server_core.hpp"

#include <algorithm>
#include <csignal>
#include <utility>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// A session that ends without having been a tunnel wakes nobody; it is noticed by looking.
constexpr auto look_again = 20ms;

}  // namespace

Server::Server(asio::io_context& io, std::shared_ptr<const Runtime> runtime, Commons commons)
    : core_(std::make_unique<ServerCore>(
          io, std::move(runtime),
          commons.ledger ? std::move(commons.ledger) : std::make_shared<TunnelLedger>(),
          commons.breakers ? std::move(commons.breakers) : std::make_shared<BreakerBook>())) {
  // splice(2) into a connection that the peer has closed raises it and has no flag against that.
  static_cast<void>(std::signal(SIGPIPE, SIG_IGN));
}

Server::~Server() = default;

void Server::adopt(std::vector<ListenSocket> sockets) {
  for (ListenSocket& socket : sockets)
    core_->listen(std::move(socket));
}

void Server::apply(std::shared_ptr<const Runtime> runtime) {
  core_->apply(std::move(runtime));
}

void Server::close_listeners(const std::vector<std::string>& keys) {
  core_->close_listeners(
      [&](const std::string& key) { return std::ranges::find(keys, key) != keys.end(); });
}

void Server::stop_accepting() {
  core_->close_listeners([](const std::string&) { return true; });
}

awaitable<void> Server::drain(std::chrono::milliseconds patience) {
  ServerCore& core = *core_;
  const auto deadline = SteadyClock::now() + patience;
  stop_accepting();
  core.close_idle_clients();
  co_await core.probes().stop();
  while ((core.tunnels() > 0 || core.tasks().size() > 0) && SteadyClock::now() < deadline)
    co_await Wakeups::sleep(core.io(), core.tunnel_ended(),
                            std::min(deadline, SteadyClock::now() + look_again));
  co_await core.tasks().stop();
  core.cut_all(ClosedBy::drain);
  while (core.tunnels() > 0)
    co_await Wakeups::sleep(core.io(), core.tunnel_ended(), SteadyClock::now() + look_again);
}

ConnectionList Server::connections(const ConnectionFilter& filter) const {
  return core_->connections(filter);
}

bool Server::end_tunnel(const std::string& id) {
  return core_->end_tunnel(id);
}

ConnectionList Server::forbidden(bool cut) {
  return core_->forbidden(cut);
}

RoleInventory Server::inventory_of(const std::string& role) const {
  return core_->inventory_of(role);
}

void Server::explain(ExplainQuery query, std::function<void(Result<Explanation>)> done) {
  core_->tasks().spawn("explain", proxy::explain(*core_, std::move(query), std::move(done)));
}

StatsSnapshot Server::snapshot() const {
  return core_->statistics();
}

}  // namespace oceanid::proxy
