// TunnelManager: keys that change. Our own: carries out what Rotation says. A peer's: watches for
// the turn to its other key (KeyTurn) and moves its addresses to it.

#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/key_store.hpp"
#include "tunnel/edge/manager.hpp"

#include <algorithm>
#include <array>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t longest_key_book = std::size_t{1} << 20;
// How closely a device is looked at whose peer has announced its turn: one exchange takes 0.3 ms
// with wireguard-go and 0.05 ms with the kernel, and all that the peer sends waits meanwhile.
constexpr auto close_look = 2ms;
constexpr auto close_looks = 3s;
constexpr int copies = 3;
constexpr auto between_copies = 3ms;
constexpr auto refusal_pause = 60s;

std::string book_path(const std::string& state_dir) {
  return state_dir + "/peer-keys";
}

}  // namespace

std::string TunnelManager::key_path(const TunnelSettings& settings) const {
  return settings.private_key_file.value_or(options_.state_dir + "/private.key");
}

std::vector<std::string> TunnelManager::peer_names() const {
  std::vector<std::string> names;
  for (const PeerSettings& peer : wanted_.settings.peers)
    names.push_back(peer.name);
  return names;
}

// What lies on disk says how far a rotation is.
Result<void> TunnelManager::sync_rotation() {
  if (latch_.is_zero()) {
    auto latch = generate_preshared_key();
    if (!latch) return std::unexpected(std::move(latch.error()));
    latch_ = *latch;
    if (const auto text = read_small_file(book_path(options_.state_dir), longest_key_book))
      key_book_ = decode_key_book(*text);
  }
  const std::string path = key_path(wanted_.settings);
  if (key_born(former_key_path(path))) rotation_.found_former(Clock::now());
  if (rotation_.phase() == Rotation::Phase::turned && rotation_.key() == public_key_) {
    rotation_.set_peers(peer_names());
    return {};
  }
  auto next = load_private_key(next_key_path(path));
  if (!next) {
    if (next.error().code != Errc::not_found)
      log::warn("tunnel", "the prepared key is not used", {{"error", next.error().what}});
    rotation_.abandon();
    return {};
  }
  const auto shown = public_key_of(*next);
  if (!shown) return std::unexpected(shown.error());
  if (*shown == *public_key_) {  // a crash on the way back from a turn
    rotation_.abandon();
    return remove_key(next_key_path(path));
  }
  rotation_.prepare(*shown, peer_names());
  return {};
}

// One entry for each peer with two keys on each of its devices; what is known of it stays.
void TunnelManager::sync_turns() {
  std::map<std::pair<IfName, std::string>, PeerTurn> next;
  const IfName hub = IfName::parse(hub_name).value();
  for (const PeerSettings& peer : wanted_.settings.peers) {
    if (!peer.next_public_key) continue;
    const auto first_key = PublicKey::from_base64(peer.public_key);
    const auto next_key = PublicKey::from_base64(*peer.next_public_key);
    if (!first_key || !next_key) continue;
    for (const IfName& device : {hub, device_of_peer(peer.name)}) {
      const auto known = turns_.find({device, peer.name});
      if (known != turns_.end() && known->second.first == *first_key &&
          known->second.next == *next_key) {
        next.insert(*known);
        continue;
      }
      PeerTurn turn{.peer = peer.name, .first = *first_key, .next = *next_key, .watch = {}};
      const auto remembered = key_book_.find(peer.name);
      turn.turned = remembered != key_book_.end() && remembered->second == *next_key;
      next.emplace(std::pair(device, peer.name), std::move(turn));
    }
  }
  turns_ = std::move(next);
}

std::set<std::pair<IfName, std::string>> TunnelManager::turned() const {
  std::set<std::pair<IfName, std::string>> out;
  for (const auto& [id, turn] : turns_)
    if (turn.turned) out.insert(id);
  return out;
}

void TunnelManager::remember_key(const std::string& peer, const PublicKey& key) {
  if (const auto at = key_book_.find(peer); at != key_book_.end() && at->second == key) return;
  key_book_.insert_or_assign(peer, key);
  std::erase_if(key_book_, [&](const auto& entry) {
    return std::ranges::find(wanted_.settings.peers, entry.first, &PeerSettings::name) ==
           wanted_.settings.peers.end();
  });
  const auto written =
      write_file_atomically(book_path(options_.state_dir), encode_key_book(key_book_), 0600);
  if (!written)
    log::warn("tunnel", "cannot write which keys are in force, ignoring",
              {{"error", written.error().what}});
}

// Moves the addresses of peers on this device that have turned to their other key. The caller has
// just refreshed the device's snapshot.
awaitable<void> TunnelManager::turn_keys(IfName name) {
  const auto now = Clock::now();
  const auto device = devices_.find(name);
  if (device == devices_.end() || !device->second.applied || !device->second.snapshot) co_return;
  const DeviceSnapshot& snapshot = *device->second.snapshot;
  std::vector<std::string> moved;
  for (auto& [id, turn] : turns_) {
    if (id.first != name) continue;
    const PeerSnapshot* waiting = snapshot.find(turn.waiting());
    std::optional<Clock::time_point> silent_since;
    if (!device->second.desired.hub)
      silent_since = std::max(device->second.quiet_since, device->second.applied_at);
    const auto verdict = turn.watch.observe(
        waiting ? std::optional(waiting->rx_bytes) : std::nullopt, silent_since, now);
    // A key that was only tried is remembered when it works.
    if (silent_since && now - device->second.quiet_since < 1s)
      remember_key(turn.peer, turn.in_force());
    if (verdict == KeyTurn::Verdict::stay) continue;
    turn.turned = !turn.turned;
    turn.watch.turned(now);
    if (verdict == KeyTurn::Verdict::spoke) remember_key(turn.peer, turn.in_force());
    log::info(
        "tunnel", "a peer's other key is in force",
        {{"device", name.str()},
         {"peer", turn.peer},
         {"key", turn.in_force().brief()},
         {"why", verdict == KeyTurn::Verdict::spoke ? "it uses it" : "the former is silent"}});
    moved.push_back(turn.peer);
  }
  if (moved.empty()) co_return;
  if (const auto planned = replan(); !planned) {
    log::error("tunnel", planned.error().what);
    co_return;
  }
  co_await converge_device(name);
  // Says so, and is the packet for which WireGuard starts the first handshake with that key.
  for (const std::string& peer : moved) {
    const auto settings = std::ranges::find(wanted_.settings.peers, peer, &PeerSettings::name);
    const auto turn = turns_.find({name, peer});
    if (settings == wanted_.settings.peers.end() || turn == turns_.end()) continue;
    for (const IpAddress& address : settings->addresses)
      responder_.send(name, {address, wanted_.settings.probe},
                      {RotationType::turned, turn->second.in_force()});
  }
}

// A peer has said that it turns now: its devices are looked at closely until it has.
awaitable<void> TunnelManager::follow(std::string peer) {
  const auto end = Clock::now() + close_looks;
  const std::array names{IfName::parse(hub_name).value(), device_of_peer(peer)};
  std::set<IfName> left;
  std::map<IfName, bool> before;
  for (const IfName& name : names)
    if (const auto turn = turns_.find({name, peer});
        turn != turns_.end() && devices_.contains(name)) {
      left.insert(name);
      before[name] = turn->second.turned;
    }
  while (!stopping_ && !left.empty() && Clock::now() < end) {
    {
      const auto guard = co_await lock_.acquire();
      for (const IfName& name : names) {
        if (stopping_ || !left.contains(name)) continue;
        co_await refresh(name);
        co_await turn_keys(name);
        const auto turn = turns_.find({name, peer});
        if (turn == turns_.end() || turn->second.turned != before[name]) left.erase(name);
      }
    }
    co_await sleep_for(close_look);
  }
  followed_.erase(peer);
  publish();
}

RotationMessage TunnelManager::answer_about(const PeerSettings& peer, const PublicKey& key) const {
  bool everywhere = true;
  bool known = true;
  bool any = false;
  for (const auto& [name, device] : devices_) {
    const auto on = std::ranges::find(device.desired.peers, peer.name, &DesiredPeer::name);
    if (on == device.desired.peers.end()) continue;
    any = true;
    if (on->public_key != key) everywhere = false;
    if (device.due || !device.snapshot || !device.snapshot->find(key)) known = false;
  }
  if (!any || !known) return {RotationType::unknown, key};
  return {everywhere ? RotationType::turned : RotationType::ready, key};
}

std::optional<RotationMessage> TunnelManager::on_key_message(const IfName& device,
                                                             const IpAddress& from,
                                                             const RotationMessage& message) {
  const auto peer = std::ranges::find_if(wanted_.settings.peers, [&](const PeerSettings& one) {
    return std::ranges::find(one.addresses, from) != one.addresses.end();
  });
  if (peer == wanted_.settings.peers.end()) return std::nullopt;
  // On the hub WireGuard has compared the address with the key; through a dialled device of an exit
  // any source comes.
  if (device.str() != hub_name && device != device_of_peer(peer->name)) {
    refuse(peer->name, "it came by another peer's tunnel");
    return std::nullopt;
  }
  switch (message.type) {
    case RotationType::ask:
      return answer_about(*peer, message.key);
    case RotationType::unknown:
    case RotationType::ready:
    case RotationType::turned:
      rotation_.on_answer(peer->name, message, Clock::now());
      poke();
      return std::nullopt;
    case RotationType::turning:
      break;
  }
  const auto turn = turns_.find({device, peer->name});
  if (turn == turns_.end() ||
      (message.key != turn->second.first && message.key != turn->second.next))
    refuse(peer->name, "its configuration here does not name that key");
  else if (followed_.insert(peer->name).second)
    tasks_.spawn("key rotation", follow(peer->name));
  return std::nullopt;
}

void TunnelManager::refuse(const std::string& peer, const char* why) {
  ++refused_;
  const auto now = Clock::now();
  if (refused_ > 1 && now - refusal_logged_ < refusal_pause) return;
  refusal_logged_ = now;
  log::warn("tunnel", "refused a message about a key", {{"peer", peer}, {"why", why}});
}

// Through every device on which the peer is, since each has a session of its own.
void TunnelManager::tell_peers(RotationType type) {
  if (!rotation_.key()) return;
  for (const PeerSettings& peer : wanted_.settings.peers)
    for (const auto& [name, device] : devices_) {
      if (!device.applied || std::ranges::find(device.desired.peers, peer.name,
                                               &DesiredPeer::name) == device.desired.peers.end())
        continue;
      for (const IpAddress& address : peer.addresses)
        responder_.send(name, {address, wanted_.settings.probe}, {type, *rotation_.key()});
    }
}

awaitable<void> TunnelManager::advance_rotation() {
  warn_about_age();
  for (;;) {
    const Rotation::Step step = rotation_.due(Clock::now());
    if (step == Rotation::Step::nothing || stopping_) co_return;
    const bool ok = co_await carry_out(step);
    rotation_.done(step, ok, Clock::now());
    if (step == Rotation::Step::go_back) log::error("tunnel", rotation_.held());
  }
}

awaitable<bool> TunnelManager::carry_out(Rotation::Step step) {
  const std::string path = key_path(wanted_.settings);
  Result<void> done;
  switch (step) {
    case Rotation::Step::nothing:
      break;
    case Rotation::Step::ask:
      tell_peers(RotationType::ask);
      break;
    case Rotation::Step::announce:
      for (int i = 0; i < copies; ++i) {
        tell_peers(RotationType::turning);
        co_await sleep_for(between_copies);
      }
      break;
    case Rotation::Step::turn:
      done = promote_next_key(path);
      if (done) done = co_await use_key_on_disk();
      if (done)
        log::info("tunnel", "the next key of this node is in force",
                  {{"public_key", public_key_->to_base64()}});
      break;
    case Rotation::Step::go_back:
      tell_peers(RotationType::turning);
      done = restore_former_key(path);
      if (done) done = co_await use_key_on_disk();
      break;
    case Rotation::Step::forget:
      done = remove_key(former_key_path(path));
      if (done) log::info("tunnel", "the former key of this node is removed");
      break;
  }
  if (!done) log::error("tunnel", done.error().what);
  co_return done.has_value();
}

// In place on every device: WireGuard then sends nothing with the old sessions and keeps what is to
// be sent, still takes what arrives by them, and starts a handshake at once (kernel:
// wg_noise_expire_current_peer_keypairs; wireguard-go: ExpireCurrentKeypairs).
awaitable<Result<void>> TunnelManager::use_key_on_disk() {
  auto secrets = load_secrets(wanted_.settings);
  if (!secrets) co_return std::unexpected(std::move(secrets.error()));
  secrets_ = std::move(*secrets);
  public_key_ = secrets_->public_key;
  age_warned_ = false;
  std::vector<IfName> names;
  for (auto& [name, device] : devices_) {
    device.due = true;
    device.retry_at = {};
    names.push_back(name);
  }
  for (const IfName& name : names)
    co_await converge_device(name);
  replan_due_ = true;  // for all else that goes by the keys
  co_return Result<void>();
}

}  // namespace oceanid::tunnel
