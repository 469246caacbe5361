#include "proxy/edge/server_core.hpp"

#include "gateway/base/runtime/log.hpp"
#include "proxy/core/public_server.hpp"
#include "proxy/edge/listener.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

std::uint64_t random_start() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

// splitmix64: ids that do not repeat within a loop's life and do not show how busy it is.
std::uint64_t scrambled(std::uint64_t n) {
  n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9U;
  n = (n ^ (n >> 27)) * 0x94d049bb133111ebU;
  return n ^ (n >> 31);
}

std::chrono::microseconds since(SteadyClock::time_point start) {
  return std::chrono::duration_cast<std::chrono::microseconds>(SteadyClock::now() - start);
}

}  // namespace

ServerCore::ServerCore(asio::io_context& io, std::shared_ptr<const Runtime> runtime,
                       std::shared_ptr<TunnelLedger> ledger, std::shared_ptr<BreakerBook> breakers)
    : io_(io),
      snapshot_(std::make_shared<const Snapshot>(std::move(runtime))),
      ledger_(std::move(ledger)),
      breakers_(std::move(breakers)),
      lobby_(snapshot_->runtime->budget.lobby),
      origins_(io),
      random_(random_start()),
      next_id_(random_start()),
      tasks_(io.get_executor()),
      probes_(*this) {
  origins_.set_limit(snapshot_->runtime->budget.idle_origins);
  tls_.apply(*snapshot_->runtime);
  probes_.apply(*snapshot_->runtime);
}

ServerCore::~ServerCore() = default;

void ServerCore::apply(std::shared_ptr<const Runtime> runtime) {
  snapshot_ = std::make_shared<const Snapshot>(std::move(runtime));
  const Runtime& now = *snapshot_->runtime;
  lobby_.set_limits(now.budget.lobby);
  origins_.set_limit(now.budget.idle_origins);
  origins_.clear();  // judged by other rules, or through another exit
  tls_.apply(now);
  probes_.apply(now);
  const auto gone = [&](const ExitChoice& exit) { return !still_usable(now.exits.get(), exit); };
  const auto unused = [&](const auto& entry) {
    return !entry.first.empty() &&
           (now.exits == nullptr || std::ranges::none_of(now.exits->exits, [&](const auto& exit) {
              return exit.usable && exit.device && exit.device->str() == entry.first;
            }));
  };
  std::erase_if(resolvers_, unused);
  for (const auto& [device, resolver] : resolvers_)
    resolver->apply(now.proxy->dns);
  for (const auto& tunnel : tunnels_)
    if (gone(tunnel->exit)) tunnel->relay.cut(ClosedBy::proxy, /*reset=*/true);
  exits_changed_.wake_all();
}

void ServerCore::close_idle_clients() {
  draining_ = true;
  origins_.clear();
  for (const int fd : idle_clients_)
    stop_reading(fd);
}

void ServerCore::listen(ListenSocket socket) {
  auto listener = std::make_shared<Listener>(*this, std::move(socket));
  listeners_.push_back(listener);
  tasks_.spawn("accept", Listener::run(std::move(listener)));
}

void ServerCore::close_listeners(const std::function<bool(const std::string& key)>& which) {
  for (const auto& listener : listeners_)
    if (which(listener->key())) listener->close();
  std::erase_if(listeners_, [&](const auto& listener) { return which(listener->key()); });
}

Resolver& ServerCore::resolver_for(const ExitChoice& exit) {
  auto& entry = resolvers_[exit.device];
  if (!entry) {
    auto device_for =
        [this, device = exit.device](const IpAddress& server) -> std::expected<std::string, int> {
      if (device.empty() || !is_public_server(snapshot_->guard, server)) return std::string();
      return device;
    };
    entry = std::make_unique<Resolver>(
        io_, ResolverOptions{snapshot_->runtime->proxy->dns, std::move(device_for), &stats_, {}});
  }
  return *entry;
}

Trace ServerCore::begin(const SocketAddress& client, std::string method) {
  Trace trace;
  next_id_ += 0x9e3779b97f4a7c15U;
  trace.record.id = fmt::format("{:016x}", scrambled(next_id_));
  trace.record.time = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  trace.record.source = client.to_string();
  trace.record.role = "default";
  trace.record.method = std::move(method);
  return trace;
}

void ServerCore::admitted(Trace& trace) const {
  AccessRecord& record = trace.record;
  if (record.verdict.empty()) record.verdict = "allow";
  if (!log::enabled(log::Level::debug)) return;  // spares the strings
  log::debug("proxy", "admitted",
             {{"id", record.id},
              {"source", record.source},
              {"role", record.role},
              {"method", record.method},
              {"host", record.host},
              {"port", std::to_string(record.port)},
              {"rule", record.rule}});
}

void ServerCore::finish(Trace& trace, Reason reason) {
  AccessRecord& record = trace.record;
  record.duration = since(trace.started);
  if (reason == Reason::ok) note_reached(trace);
  if (reason != Reason::ok) record.error = to_string(reason);
  if (is_denial(reason)) record.verdict = "deny";
  if (record.closed_by.empty()) record.closed_by = "proxy";
  stats_.request_ended(reason, record.role);
  write_record(record, is_denial(reason) ? log::Level::warn : log::Level::info);
}

// What an operator must notice is a warning: it stays visible when the log is set to warnings.
void ServerCore::write_record(const AccessRecord& record, log::Level level) const {
  if (!snapshot_->runtime->access_log || !log::enabled(level)) return;
  log::raw(level, snapshot_->runtime->json ? record.to_json() : record.to_text());
}

void ServerCore::open_tunnel(Trace trace, Opening opening) {
  const auto& timeouts = snapshot_->runtime->proxy->timeouts;
  stats_.tunnel_opened(trace.forward);
  note_reached(trace);
  auto early = std::move(opening.early);
  auto greeting = std::move(opening.greeting);
  auto wire = wires_.find(opening.client.native_handle());
  const auto place = tunnels_.emplace(tunnels_.end());
  auto done = [this, place](Relay&) { on_tunnel_end(place); };
  *place = std::make_unique<Tunnel>(pool_, std::move(trace), opening,
                                    RelayTimeouts{timeouts.idle, timeouts.fin}, std::move(done));
  if (wire) wire->relay = &(*place)->relay;
  (*place)->wire = std::move(wire);
  (*place)->relay.limit((*place)->slot.throttle());
  (*place)->relay.start(std::move(early), std::move(greeting));
}

void ServerCore::on_tunnel_end(TunnelPlace place) {
  const std::unique_ptr<Tunnel> tunnel = std::move(*place);
  tunnels_.erase(place);
  const Relay& relay = tunnel->relay;
  if (tunnel->wire) *tunnel->wire = {nullptr, relay.was_reset()};
  Trace& trace = tunnel->trace;
  AccessRecord& record = trace.record;
  record.bytes_up = relay.bytes_up();
  record.bytes_down = relay.bytes_down();
  record.closed_by = to_string(relay.closed_by());
  if (const auto first = relay.first_byte()) {
    const auto took = *first - trace.started;
    record.first_byte = std::chrono::duration_cast<std::chrono::microseconds>(took);
    stats_.first_byte(took);
  }
  finish(trace, Reason::ok);
  stats_.tunnel_closed(trace.forward);
  tunnel_ended_.wake_all();
}

void ServerCore::cut_all(ClosedBy why) {
  for (const auto& tunnel : tunnels_)
    tunnel->relay.cut(why, /*reset=*/false);
}

ConnectionView ServerCore::view_of(const Tunnel& tunnel) {
  const auto seconds = [now = SteadyClock::now()](SteadyClock::time_point then) {
    return std::chrono::duration<double>(now - then).count();
  };
  const AccessRecord& record = tunnel.trace.record;
  ConnectionView out;
  out.id = record.id;
  out.source = record.source;
  out.role = record.role;
  out.method = record.method;
  out.forward = tunnel.trace.forward;
  out.host = record.host;
  out.port = record.port;
  out.address = record.address;
  out.exit = record.exit;
  out.rule = record.rule;
  out.age_seconds = seconds(tunnel.trace.started);
  out.idle_seconds = seconds(tunnel.relay.last_activity());
  out.bytes_up = tunnel.relay.bytes_up();
  out.bytes_down = tunnel.relay.bytes_down();
  return out;
}

ConnectionList ServerCore::connections(const ConnectionFilter& filter) const {
  ConnectionList out;
  for (const auto& tunnel : tunnels_) {
    ++out.open;
    ConnectionView view = view_of(*tunnel);
    if (!filter.matches(view)) continue;
    ++out.matching;
    if (out.connections.size() < filter.limit) out.connections.push_back(std::move(view));
  }
  return out;
}

bool ServerCore::end_tunnel(const std::string& id) {
  for (const auto& tunnel : tunnels_) {
    if (tunnel->trace.record.id != id) continue;
    tunnel->relay.cut(ClosedBy::proxy, /*reset=*/true);
    return true;
  }
  return false;
}

StatsSnapshot ServerCore::statistics() const {
  StatsSnapshot out = stats_.snapshot();
  out.bytes_up = pool_.bytes_up();
  out.bytes_down = pool_.bytes_down();
  out.breakers_open = breakers_->open();
  return out;
}

}  // namespace oceanid::proxy
