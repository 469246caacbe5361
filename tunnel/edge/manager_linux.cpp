#include "gateway/base/runtime/log.hpp"
#include "tunnel/core/diff.hpp"
#include "tunnel/core/relay.hpp"
#include "tunnel/edge/manager.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr auto poll = 1s;  // no notification exists for WireGuard's state
constexpr auto first_backoff = 200ms;
constexpr auto longest_backoff = 10s;
constexpr auto settled = 10s;  // a device that lived this long starts again without delay
// A peer that restarted has no session any more; WireGuard alone notices after 15 s and then tries
// every 5 s. A forced handshake brings it back at once, so one that has answered echoes is tried
// every half second, or three of its round trips. A peer with another transport keeps its session
// for that first. The pause for one that never answered doubles: it may have no echo responder.
constexpr auto quiet_too_long = 2s;
constexpr auto echo_too_long = 1s;
constexpr std::chrono::milliseconds known_peer_pause = forced_handshake_pause + 20ms;
constexpr std::chrono::milliseconds longest_known_pause = 3s;
constexpr std::chrono::milliseconds first_handshake_pause = 4s;
constexpr std::chrono::milliseconds longest_handshake_pause = 60s;
constexpr auto led_back_after = 50ms;     // what is still under way by a transport that was left
constexpr unsigned silent_snapshots = 3;  // a daemon that accepts and says nothing is replaced

BackendOptions backend_options(const TunnelManager::Options& options,
                               const TunnelSettings& settings) {
  BackendOptions result;
  result.wireguard_go = settings.wireguard_go;
  result.run_dir = options.run_dir;
  result.socket_dir = options.socket_dir;
  return result;
}

}  // namespace

TunnelManager::TunnelManager(const asio::any_io_executor& executor, Options options)
    : executor_(executor),
      options_(std::move(options)),
      book_(options_.state_dir + "/endpoints"),
      responder_(executor),
      paths_(executor, options_.state_dir, [this] { paths_changed(); }),
      lock_(executor),
      wake_(executor),
      tasks_(executor) {
  responder_.set_on_message(
      [this](const std::string& device, const IpAddress& from, const RotationMessage& message) {
        const auto name = IfName::parse(device);
        return name ? on_key_message(*name, from, message) : std::nullopt;
      });
}

awaitable<Result<void>> TunnelManager::apply(Wanted wanted) {
  const auto guard = co_await lock_.acquire();
  wanted.settings = behind_their_relays(std::move(wanted.settings));
  auto secrets = load_secrets(wanted.settings);
  if (!secrets) co_return std::unexpected(std::move(secrets.error()));
  const bool same_backend = backend_ && wanted.settings.backend == wanted_.settings.backend &&
                            wanted.settings.wireguard_go == wanted_.settings.wireguard_go;
  if (!same_backend) {
    auto chosen = choose_backend(wanted.settings.backend, executor_,
                                 backend_options(options_, wanted.settings),
                                 [this](const IfName& name) { lost(name, "wireguard-go ended"); });
    if (!chosen) co_return std::unexpected(std::move(chosen.error()).context("tunnel.backend"));
    if (backend_) co_await backend_->stop();
    backend_ = std::move(*chosen);
    for (auto& [name, device] : devices_)
      device.applied = false;  // of another make; `due` follows below
  }
  wanted_ = std::move(wanted);
  secrets_ = std::move(*secrets);
  public_key_ = secrets_->public_key;
  if (auto synced = sync_rotation(); !synced) co_return synced;
  for (auto& [name, device] : devices_)
    device.due = true;  // keys may have changed
  if (auto planned = replan(); !planned) co_return planned;
  co_await remove_strays();
  co_await converge();
  if (!running_) {
    running_ = true;
    tasks_.spawn("tunnel maintenance", maintain());
  }
  co_return Result<void>();
}

awaitable<void> TunnelManager::remove_strays() {
  for (const IfName& name : co_await backend_->existing())
    if (!devices_.contains(name)) to_remove_.push_back(name);
}

awaitable<void> TunnelManager::converge() {
  while (!to_remove_.empty()) {
    const IfName name = to_remove_.back();
    to_remove_.pop_back();
    const auto removed = co_await backend_->remove(name);
    if (removed)
      log::info("tunnel", "removed a device", {{"device", name.str()}});
    else
      log::error("tunnel", removed.error().what, {{"device", name.str()}});
  }
  std::vector<IfName> names;  // the map may change during the waits below
  for (const auto& [name, device] : devices_)
    names.push_back(name);
  for (const IfName& name : names) {
    co_await converge_device(name);
    co_await refresh(name);
    co_await turn_keys(name);
    co_await revive(name);
  }
  configure_responder();
  configure_paths();
}

awaitable<void> TunnelManager::converge_device(IfName name) {
  const auto before = devices_.find(name);
  if (before == devices_.end() || !before->second.due || Clock::now() < before->second.retry_at)
    co_return;
  const DesiredDevice desired = before->second.desired;
  const auto ensured = co_await backend_->ensure(desired, secrets_->private_key);
  const auto after = devices_.find(name);
  if (after == devices_.end()) co_return;
  Device& device = after->second;
  if (!ensured) {
    if (device.error != ensured.error().what)  // the same trouble every ten seconds is one line
      log::error("tunnel", ensured.error().what, {{"device", name.str()}});
    device.error = ensured.error().what;
    postpone(device);
    co_return;
  }
  device.applied = true;
  device.due = false;
  if (device.prober) device.prober->nudge();  // the peer's answers follow to another endpoint
  device.applied_at = Clock::now();
  device.error.clear();
  device.failed_snapshots = 0;
}

awaitable<void> TunnelManager::refresh(IfName name) {
  const auto before = devices_.find(name);
  if (before == devices_.end() || !before->second.applied) co_return;
  auto snapshot = co_await backend_->snapshot(name);
  const auto after = devices_.find(name);
  if (after == devices_.end()) co_return;
  Device& device = after->second;
  if (snapshot) {
    note_progress(device, *snapshot);
    note_traffic(device, *snapshot);
    if (device.snapshot) snapshot->keep_handshakes(*device.snapshot);
    device.snapshot = std::move(*snapshot);
    device.failed_snapshots = 0;
    if (!device.due && fell_back_to_shim(device.desired, *device.snapshot)) {
      device.due = true;
      device.retry_at = Clock::now() + led_back_after;
    }
  } else if (snapshot.error().code == Errc::not_found) {
    lost(name, "the device is gone");
  } else if (++device.failed_snapshots >= silent_snapshots) {
    lost(name, "the device does not answer");
    to_remove_.push_back(name);  // ends the silent process; the next turn makes a new one
  }
}

void TunnelManager::note_progress(Device& device, const DeviceSnapshot& snapshot) const {
  if (device.desired.hub) return;
  const bool echo = device.prober && carries(device.prober->tracker().state());
  const PublicKey& key = device.desired.peers.front().public_key;
  const PeerSnapshot* now = snapshot.find(key);
  const PeerSnapshot* before = device.snapshot ? device.snapshot->find(key) : nullptr;
  const bool received = now && before && now->rx_bytes > before->rx_bytes;
  if (echo) device.handshake_pause = first_handshake_pause;
  if (!echo && !received && before) return;
  device.quiet_since = Clock::now();
}

// None: the peer has never answered an echo.
std::optional<std::chrono::milliseconds> TunnelManager::known_pause(const Device& device) {
  if (!device.prober || !device.prober->tracker().last_reply()) return std::nullopt;
  const auto trip = device.prober->tracker().rtt().value_or(0ms);
  return std::clamp(std::chrono::duration_cast<std::chrono::milliseconds>(3 * trip),
                    known_peer_pause, longest_known_pause);
}

TunnelManager::Clock::duration TunnelManager::patience_with(const std::string& peer) const {
  const auto settings = std::ranges::find(wanted_.settings.peers, peer, &PeerSettings::name);
  return settings != wanted_.settings.peers.end() && settings->tls ? quiet_too_long : echo_too_long;
}

awaitable<void> TunnelManager::revive(IfName name) {
  const auto at = devices_.find(name);
  if (at == devices_.end() || !at->second.applied || at->second.desired.hub) co_return;
  Device& device = at->second;
  const auto now = Clock::now();
  const DesiredPeer& peer = device.desired.peers.front();
  if (!peer.endpoint || now < device.handshake_due_at) co_return;
  if (const auto pause = known_pause(device)) {
    // What still arrives came by a session that stands. A peer that says that it does not hear us
    // pauses longer between two of its notices than snapshots tell apart from silence.
    const PathHealth& path = device.prober->tracker();
    if (now - device.quiet_since < forced_handshake_pause || path.unheard(now) ||
        now - *path.last_reply() < patience_with(peer.name))
      co_return;
    device.handshake_due_at = now + *pause;
  } else {
    if (now - device.quiet_since < quiet_too_long) co_return;
    device.handshake_pause = std::max(device.handshake_pause, first_handshake_pause);
    device.handshake_due_at = now + device.handshake_pause;
    device.handshake_pause = std::min(device.handshake_pause * 2, longest_handshake_pause);
  }
  const auto forced = co_await backend_->force_handshake(name, peer.public_key);
  if (!forced && forced.error().code != Errc::limit)
    log::warn("tunnel", forced.error().what, {{"device", name.str()}});
}

void TunnelManager::lost(const IfName& name, std::string why) {
  const auto at = devices_.find(name);
  if (at == devices_.end() || !at->second.applied) return;
  Device& device = at->second;
  log::warn("tunnel", "lost a device, making it again", {{"device", name.str()}, {"why", why}});
  device.applied = false;
  device.due = true;
  device.snapshot.reset();
  device.error = std::move(why);
  if (Clock::now() - device.applied_at >= settled) device.backoff = 0ms;
  device.retry_at = Clock::now() + device.backoff;
  device.backoff =
      std::clamp<std::chrono::milliseconds>(device.backoff * 2, first_backoff, longest_backoff);
  publish();
  poke();
}

void TunnelManager::postpone(Device& device) {
  device.backoff =
      std::clamp<std::chrono::milliseconds>(device.backoff * 2, first_backoff, longest_backoff);
  device.retry_at = Clock::now() + device.backoff;
}

TunnelManager::Clock::time_point TunnelManager::next_turn() const {
  const auto now = Clock::now();
  auto next = now + std::min<Clock::duration>(poll, rotation_.patience(now));
  for (const auto& [name, device] : devices_) {
    if (device.due) next = std::min(next, std::max(device.retry_at, now));
    if (known_pause(device) && !carries(device.prober->tracker().state()))
      next = std::min(next, std::max(device.handshake_due_at, now + known_peer_pause / 2));
  }
  return to_remove_.empty() && !poked_ ? next : now;
}

awaitable<void> TunnelManager::maintain() {
  while (!stopping_) {
    wake_.expires_at(next_turn());
    auto [ec] = co_await wake_.async_wait(as_result);
    static_cast<void>(ec);  // cancelled: poke()
    if (stopping_) co_return;
    const auto guard = co_await lock_.acquire();
    poked_ = false;
    if (replan_due_) {
      if (const auto planned = replan(); !planned) log::error("tunnel", planned.error().what);
    }
    co_await converge();
    co_await advance_rotation();
  }
}

void TunnelManager::poke() {
  poked_ = true;  // for when the maintenance is not waiting but at work
  wake_.expires_at(Clock::now());
}

std::vector<std::string> TunnelManager::names_to_resolve() const {
  std::vector<std::string> names;
  for (const PeerSettings& peer : wanted_.settings.peers)
    if (peer.endpoint && !IpAddress::parse(peer.endpoint->host))
      names.push_back(peer.endpoint->host);
  for (const HostPort& transport : wanted_.transports)
    if (!IpAddress::parse(transport.host)) names.push_back(transport.host);
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

std::vector<std::string> TunnelManager::names_in_doubt() const {
  std::vector<std::string> names;
  for (const PeerSettings& peer : wanted_.settings.peers) {
    if (!peer.endpoint || IpAddress::parse(peer.endpoint->host)) continue;
    const auto at = devices_.find(device_of_peer(peer.name));
    if (at == devices_.end() || !at->second.prober) continue;
    if (!carries(at->second.prober->tracker().state())) names.push_back(peer.endpoint->host);
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

void TunnelManager::set_resolved(const std::string& name, std::vector<IpAddress> addresses) {
  // Only what we asked for: the answer comes from a process that talks to strangers.
  const auto asked = names_to_resolve();
  if (std::ranges::find(asked, name) == asked.end()) return;
  if (!book_.remember(name, std::move(addresses))) return;
  replan_due_ = true;
  poke();
}

awaitable<Result<void>> TunnelManager::force_handshake(std::string peer) {
  const auto guard = co_await lock_.acquire();
  const IfName name = device_of_peer(peer);
  const auto device = devices_.find(name);
  if (device == devices_.end() || !device->second.applied)
    co_return fail(Errc::not_found, "there is no tunnel that we dial to " + peer);
  co_return co_await backend_->force_handshake(name,
                                               device->second.desired.peers.front().public_key);
}

void TunnelManager::hold_deaf(const std::string& peer, std::chrono::milliseconds duration) {
  const auto device = devices_.find(device_of_peer(peer));
  if (device != devices_.end() && device->second.prober)
    device->second.prober->hold_deaf(Clock::now() + duration);
}

awaitable<void> TunnelManager::stop(bool keep_devices) {
  stopping_ = true;
  on_change_ = nullptr;
  for (auto& [name, device] : devices_)
    if (device.prober) device.prober->stop();
  poke();
  co_await responder_.stop();
  co_await paths_.stop();
  co_await tasks_.stop();
  if (!backend_) co_return;
  if (!keep_devices)
    for (const auto& [name, device] : devices_) {
      const auto removed = co_await backend_->remove(name);
      if (!removed) log::error("tunnel", removed.error().what, {{"device", name.str()}});
    }
  co_await backend_->stop();
}

awaitable<Result<void>> TunnelManager::remove_all() {
  co_await stop(/*keep_devices=*/true);
  co_return co_await remove_all_devices(executor_, backend_options(options_, wanted_.settings));
}

}  // namespace oceanid::tunnel
