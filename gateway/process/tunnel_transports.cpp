#include "gateway/process/tunnel_transports.hpp"

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/routing_inputs.hpp"
#include "gateway/process/transport_sockets.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
using tunnel::SocketPurpose;
using tunnel::Transport;
using Clock = tunnel::TransportLadder::Clock;

constexpr auto look_interval = 100ms;
constexpr auto deaf_by_then = 10ms;  // an order reaches the transport in a fraction of that
// On a busy machine what came by TLS is decrypted later than that and leads WireGuard back to the
// shim, where nobody hears it: the manager, which looks once a second, is asked to look after these
// pauses.
constexpr std::array looks_after_return{30ms, 60ms, 120ms, 240ms};
constexpr std::uint16_t https_port = 443;
constexpr int settled_in_patiences = 10;
constexpr auto longest_patience = 30min;

tunnel::LadderPolicy policy_of(const Config& config, const tunnel::PeerSettings& peer) {
  const bool udp = peer.transport == tunnel::TransportChoice::automatic;
  tunnel::LadderPolicy out;
  // An endpoint that is on UDP 443 already has no second port.
  out.allowed = {udp, udp && peer.endpoint->port != https_port, true, peer.tls->proxy.has_value()};
  // Echoes that come less often than the defaults expect are not missed sooner.
  const auto interval = config.health.interval;
  out.silence =
      std::max<std::chrono::nanoseconds>(out.silence, interval * config.health.down_after);
  out.suspicion = std::max<std::chrono::nanoseconds>(out.suspicion, interval * 2);
  out.patience = config.tunnel->return_after;
  out.longest_patience = std::max<std::chrono::nanoseconds>(out.patience, longest_patience);
  out.settled = out.patience * settled_in_patiences;
  return out;
}

}  // namespace

Result<int> TunnelTransports::way_of(const Config& config, const tunnel::PeerSettings& peer) {
  const tunnel::LadderPolicy policy = policy_of(config, peer);
  auto at = ways_.find(peer.name);
  if (at == ways_.end()) {
    auto shim = loopback_udp();
    if (!shim) return std::unexpected(std::move(shim.error()));
    auto port = port_of(shim->get());
    if (!port) return std::unexpected(std::move(port.error()));
    at = ways_.try_emplace(peer.name, policy).first;
    at->second.shim = std::move(*shim);
    at->second.shim_address = {IpAddress::v4({127, 0, 0, 1}), *port};
  } else if (!(at->second.policy == policy)) {
    at->second.policy = policy;
    at->second.ladder = tunnel::TransportLadder(policy, Clock::now());
  }
  at->second.endpoint = peer.tls->endpoint;
  at->second.proxy.reset();
  if (peer.tls->proxy)
    if (auto proxy = proxy::parse_parent(*peer.tls->proxy)) at->second.proxy = std::move(*proxy);
  return at->second.shim.get();
}

TunnelTransports::TunnelTransports(asio::io_context& io, LauncherClient& launcher, Events events)
    : io_(io),
      events_(std::move(events)),
      supervisor_(io, launcher,
                  {.socket = [this](SocketPurpose purpose,
                                    const std::string& peer) { return socket(purpose, peer); },
                   .links =
                       [this](const std::string& peer, Transport rung, std::size_t links) {
                         if (const auto way = ways_.find(peer); way != ways_.end()) {
                           way->second.ladder.on_link(rung, links > 0, Clock::now());
                           if (links > 0) way->second.trouble.clear();
                         }
                         look();
                       },
                   .answer =
                       [this](const std::string& peer, Transport rung) {
                         if (const auto way = ways_.find(peer); way != ways_.end())
                           way->second.ladder.on_answer(rung, Clock::now());
                       },
                   .trouble =
                       [this](const std::string& peer, Transport rung, const std::string& why) {
                         log::warn(
                             "tunnel", "the TLS transport to a peer cannot be had",
                             {{"peer", peer}, {"way", std::string(to_string(rung))}, {"why", why}});
                         if (const auto way = ways_.find(peer); way != ways_.end())
                           way->second.trouble = why;
                       },
                   .ended = [this] { all_links_gone(); }}),
      tasks_(io.get_executor()) {}

Result<void> TunnelTransports::apply(const Config& config, tunnel::TunnelManager& tunnels) {
  auto configuration = configuration_for(config, tunnels);
  if (!configuration) return std::unexpected(std::move(configuration.error()));
  tunnels_ = &tunnels;
  config_ = config;
  mark_ = underlay_mark(config);
  std::erase_if(ways_, [&](const auto& entry) {
    const bool gone =
        std::ranges::find(configuration->message.dials, entry.first, &ipc::TransportDial::peer) ==
        configuration->message.dials.end();
    if (gone) tunnels.set_detour(entry.first, std::nullopt);
    return gone;
  });
  supervisor_.configure(std::move(*configuration));
  if (!ways_.empty() && !std::exchange(watching_, true)) tasks_.spawn("transports", watch());
  look();
  return {};
}

void TunnelTransports::forget() {
  tunnels_ = nullptr;
  ways_.clear();
  supervisor_.configure({});
}

awaitable<void> TunnelTransports::stop() {
  tunnels_ = nullptr;
  co_await tasks_.stop();
  co_await supervisor_.stop();
}

void TunnelTransports::all_links_gone() {
  for (auto& [peer, way] : ways_) {
    way.ladder.on_link(Transport::tls, false, Clock::now());
    way.ladder.on_link(Transport::proxied, false, Clock::now());
  }
}

awaitable<void> TunnelTransports::watch() {
  for (;;) {
    if (co_await sleep_for(look_interval)) co_return;
    look();
  }
}

void TunnelTransports::look() {
  if (tunnels_ == nullptr || ways_.empty()) return;
  for (const tunnel::TunnelStatus& status : tunnels_->status()) {
    if (status.hub || status.peers.empty()) continue;
    const auto way = ways_.find(status.peers.front().name);
    if (way != ways_.end()) look_at(way->first, way->second, status);
  }
}

void TunnelTransports::look_at(const std::string& peer, Way& way,
                               const tunnel::TunnelStatus& status) {
  const auto now = Clock::now();
  if (status.listen_port != 0) reconnect_shim(way, status.listen_port);
  if (status.echo_silence) way.ladder.on_echo(now - *status.echo_silence);
  follow(peer, way, way.ladder.advance(now));
}

// WireGuard's own port: it is another when the device had to be made anew.
void TunnelTransports::reconnect_shim(Way& way, std::uint16_t port) const {
  if (way.wireguard_port == port) return;
  if (const auto done = connect_loopback(way.shim.get(), port); done)
    way.wireguard_port = port;
  else
    log::error("tunnel", done.error().what);
}

void TunnelTransports::follow(const std::string& peer, Way& way,
                              const tunnel::TransportLadder::Orders& orders) {
  const bool by_udp = is_udp(orders.use);
  supervisor_.order({peer, orders.dial_tls, orders.dial_proxied, by_udp,
                     static_cast<std::uint64_t>(orders.probe_every.count())});
  if (way.in_use == orders.use) return;
  const auto before = std::exchange(way.in_use, orders.use);
  if (before) {
    const std::string text = "the tunnel to " + peer + " goes by " +
                             std::string(to_string(orders.use)) + " now, before by " +
                             std::string(to_string(*before));
    events_.warning(text);
  }
  // First the shim is deaf, then WireGuard is led away from it: it answers to wherever the last
  // packet came from, and the peer's last ones by TLS would lead it back.
  if (before && by_udp && !is_udp(*before))
    tasks_.spawn("leaving TLS", lead_away(peer, orders.use));
  else
    lead(peer, way);
}

awaitable<void> TunnelTransports::lead_away(std::string peer, Transport to) {
  co_await sleep_for(deaf_by_then);
  const auto way = ways_.find(peer);
  if (way == ways_.end() || way->second.in_use != to) co_return;
  lead(peer, way->second);
  for (const auto pause : looks_after_return) {
    if (co_await sleep_for(pause)) co_return;
    if (tunnels_ != nullptr) tunnels_->poke();
  }
}

void TunnelTransports::lead(const std::string& peer, const Way& way) {
  if (tunnels_ == nullptr) return;
  std::optional<tunnel::TunnelManager::Detour> detour;
  if (*way.in_use == Transport::udp_443)
    detour = https_port;
  else if (!is_udp(*way.in_use))
    detour = way.shim_address;
  tunnels_->set_detour(peer, detour);
}

Result<UniqueFd> TunnelTransports::dialled(const HostPort& to, std::size_t attempt) const {
  const auto addresses = tunnels_->addresses_of(to);
  if (addresses.empty())
    return fail(Errc::not_found, to.to_string() + " has no address yet, its name is not resolved");
  return begin_tcp(addresses[attempt % addresses.size()], mark_);
}

Result<UniqueFd> TunnelTransports::socket(SocketPurpose purpose, const std::string& peer) {
  if (tunnels_ == nullptr) return fail(Errc::closed, "there are no tunnels");
  if (purpose == SocketPurpose::session) {
    auto fd = loopback_udp();
    if (!fd) return fd;
    if (auto done = connect_loopback(fd->get(), config_.tunnel->listen.value_or(0)); !done)
      return std::unexpected(std::move(done.error()));
    return fd;
  }
  const auto at = ways_.find(peer);
  if (at == ways_.end()) return fail(Errc::not_found, "there is no transport to " + peer);
  Way& way = at->second;
  if (purpose == SocketPurpose::tls) return dialled(*way.endpoint, way.tls_attempts++);
  if (purpose == SocketPurpose::proxied) {
    if (!way.proxy) return fail(Errc::not_found, "there is no proxy on the way to " + peer);
    return dialled(way.proxy->at, way.tls_attempts++);
  }
  auto endpoint = tunnels_->endpoint_of(peer);
  if (!endpoint) return fail(Errc::not_found, "the endpoint of " + peer + " is not resolved yet");
  if (purpose == SocketPurpose::udp_443) endpoint->port = https_port;
  return connected_udp(*endpoint, mark_);
}

void TunnelTransports::describe(ipc::TunnelView& view) const {
  const auto at = ways_.find(view.peer);
  if (at == ways_.end()) return;
  view.transport = to_string(at->second.ladder.current());
  view.transport_trouble = at->second.trouble;
  view.endpoint += at->second.in_use && !is_udp(*at->second.in_use)
                       ? " (" + at->second.endpoint->to_string() + ")"
                       : "";
  for (const auto& one : supervisor_.counters().dropped)
    if (one.peer == view.peer) view.transport_dropped = one.dropped;
}

std::vector<HostPort> transport_hosts(const Config& config) {
  std::vector<HostPort> out;
  if (!config.tunnel) return out;
  for (const auto& peer : config.tunnel->peers) {
    if (!peer.tls || !peer.endpoint || peer.transport == tunnel::TransportChoice::udp) continue;
    out.push_back(peer.tls->endpoint);
    if (!peer.tls->proxy) continue;
    if (const auto parent = proxy::parse_parent(*peer.tls->proxy)) out.push_back(parent->at);
  }
  return out;
}

}  // namespace oceanid::process
