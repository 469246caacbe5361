#include "gateway/base/runtime/log.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "tunnel/edge/path_keeper.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

// The first three begin a look at the path, which ends within a second and a half.
constexpr unsigned contradiction = 8;
constexpr std::size_t longest_book = std::size_t{1} << 17;

// A path of another family is another path; so is the way that a peer takes to us.
std::string place_of(const std::string& peer, bool hub, Family outer) {
  return (hub ? "hub:" : "oc:") + peer + (outer == Family::v4 ? "/4" : "/6");
}

PathStatus status_of(const PathMtuLink& link, Family outer) {
  PathStatus out;
  out.outer = outer;
  out.answered = link.answered(PathMtuLink::Time::clock::now());
  out.size = link.path();
  out.there = link.search().size();
  if (link.reported() != 0) out.back = link.reported();
  out.state = link.search().state();
  out.below_floor = link.below_floor();
  out.black_holes = link.search().black_holes();
  out.contradicted = link.contradicted();
  return out;
}

awaitable<void> run_prober(std::shared_ptr<PathProber> prober) {
  co_await prober->run();
}

}  // namespace

PathKeeper::PathKeeper(const asio::any_io_executor& executor, const std::string& state_dir,
                       std::function<void()> on_change)
    : executor_(executor),
      file_(state_dir + "/path-mtu"),
      on_change_(std::move(on_change)),
      responder_(executor, [this] { changed(); }),
      tasks_(executor) {
  if (const auto text = read_small_file(file_, longest_book)) book_ = decode_paths(*text);
}

const PathProbeKey* PathKeeper::key_of(const std::string& peer) {
  if (const auto known = keys_.find(peer); known != keys_.end()) return &known->second;
  const auto theirs = secrets_.peers.find(peer);
  if (theirs == secrets_.peers.end()) return nullptr;
  std::optional<PresharedKey> preshared;
  if (const auto at = secrets_.preshared.find(peer); at != secrets_.preshared.end())
    preshared = at->second;
  auto key = PathProbeKey::derive(secrets_.own, theirs->second, preshared);
  if (!key) {
    log::error("tunnel", key.error().what, {{"peer", peer}});
    return nullptr;
  }
  return &keys_.emplace(peer, std::move(*key)).first->second;
}

unsigned PathKeeper::first_inner(const std::string& place, Family outer) const {
  const auto known = book_.find(place);
  return inner_mtu(known == book_.end() ? default_path_mtu : known->second, outer);
}

void PathKeeper::configure(const TunnelSettings& settings, const Mark& mark, const Secrets& secrets,
                           const std::vector<DesiredDevice>& devices) {
  fixed_ = settings.mtu;
  if (!(secrets == secrets_)) {
    for (auto& [peer, prober] : probers_)
      prober->stop();
    probers_.clear();
    keys_.clear();
    secrets_ = secrets;
  }
  const bool six =
      std::ranges::any_of(settings.addresses, [](const IpAddress& own) { return !own.is_v4(); });
  const unsigned least = six ? ipv6_inner_mtu : smallest_inner_mtu;
  std::map<std::string, PathProber::Target> targets;
  std::map<std::string, PathResponder::Peer> peers;
  for (const DesiredDevice& device : devices)
    for (const DesiredPeer& peer : device.peers) {
      const PathProbeKey* key = key_of(peer.name);
      if (key == nullptr) continue;
      if (device.hub)
        peers.emplace(peer.name,
                      PathResponder::Peer{
                          *key, std::max(least, first_inner(place_of(peer.name, true, Family::v4),
                                                            Family::v4))});
      else if (peer.endpoint)
        targets[peer.name] = {
            {peer.endpoint->address, settings.probe}, mark, least, settings.mtu_raise};
    }
  std::erase_if(probers_, [&](auto& entry) {
    const auto wanted = targets.find(entry.first);
    if (wanted != targets.end() && wanted->second == entry.second->target()) return false;
    entry.second->stop();
    return true;
  });
  for (const auto& [peer, target] : targets) {
    if (probers_.contains(peer)) continue;
    const Family outer = target.peer.address.family();
    const unsigned inner = std::max(least, first_inner(place_of(peer, false, outer), outer));
    auto prober = std::make_shared<PathProber>(executor_, target, *key_of(peer), inner,
                                               [this] { changed(); });
    probers_.emplace(peer, prober);
    tasks_.spawn("path prober", run_prober(prober));
  }
  const bool dialled_by_others = settings.listen.has_value() && !peers.empty();
  PathResponder::Settings responder;
  responder.port = dialled_by_others ? settings.probe : std::uint16_t{0};
  responder.mark = mark;
  responder.least_inner = least;
  responder.raise = settings.mtu_raise;
  const auto configured = responder_.configure(responder, peers);
  const std::string error = configured ? "" : configured.error().what;
  if (!error.empty() && error != responder_error_) log::error("tunnel", error);
  responder_error_ = error;
}

unsigned PathKeeper::mtu_of_dialled(const DesiredDevice& device) const {
  if (fixed_) return *fixed_;
  const auto prober = probers_.find(device.peers.front().name);
  return prober == probers_.end() ? device.mtu : prober->second->link().inner();
}

unsigned PathKeeper::mtu_on_hub(const std::string& peer, unsigned otherwise) const {
  if (fixed_) return *fixed_;
  const PathMtuLink* link = responder_.link(peer);
  return link == nullptr ? otherwise : link->inner();
}

std::optional<PathStatus> PathKeeper::dialled(const std::string& peer) const {
  const auto prober = probers_.find(peer);
  if (prober == probers_.end()) return std::nullopt;
  return status_of(prober->second->link(), prober->second->target().peer.address.family());
}

std::optional<PathStatus> PathKeeper::on_hub(const std::string& peer) const {
  const PathMtuLink* link = responder_.link(peer);
  if (link == nullptr) return std::nullopt;
  return status_of(*link, link->outer());
}

void PathKeeper::on_traffic(const std::string& peer, bool hub) {
  if (hub) return responder_.on_traffic(peer);
  if (const auto prober = probers_.find(peer); prober != probers_.end())
    prober->second->on_traffic();
}

void PathKeeper::on_suspicion(const std::string& peer, unsigned missing) {
  const auto at = probers_.find(peer);
  if (at == probers_.end()) return;
  PathProber& prober = *at->second;
  if (missing < contradiction) return prober.on_suspicion();
  if (prober.link().contradicted()) return;
  prober.on_contradiction();
  if (prober.link().contradicted())
    log::warn("tunnel",
              "packets of full size do not pass the tunnel, though probes of that size pass beside "
              "it; smaller ones are used for a while",
              {{"peer", peer}, {"bytes", std::to_string(contradicted_path)}});
}

void PathKeeper::changed() {
  remember();
  if (on_change_) on_change_();
}

// Only what a search has ended with: a value in between would be read at every start.
void PathKeeper::remember() {
  const PathBook before = book_;
  const auto note = [&](const std::string& peer, bool hub, const PathStatus& path) {
    if (!path.size || path.state == SearchState::base || path.contradicted) return;
    const std::string place = place_of(peer, hub, path.outer);
    if (book_.contains(place) || book_.size() < max_known_paths) book_[place] = *path.size;
    unsigned& told = told_[place];
    if (told == *path.size) return;
    told = *path.size;
    log::info("tunnel", "the path carries another size",
              {{"peer", peer},
               {"direction", hub ? "it dials us" : "we dial it"},
               {"bytes", std::to_string(*path.size)}});
    if (path.below_floor)
      log::warn("tunnel",
                "the path is too narrow for IPv6 inside the tunnel: packets of 1280 bytes "
                "travel in pieces or get lost",
                {{"peer", peer}, {"bytes", std::to_string(*path.size)}});
  };
  for (const auto& [peer, prober] : probers_)
    note(peer, false, *dialled(peer));
  for (const auto& [peer, key] : keys_)
    if (const auto path = on_hub(peer)) note(peer, true, *path);
  if (book_ == before) return;
  if (const auto written = write_file_atomically(file_, encode_paths(book_), 0600); !written)
    log::warn("tunnel", "cannot write what the paths carry, ignoring",
              {{"error", written.error().what}});
}

awaitable<void> PathKeeper::stop() {
  on_change_ = nullptr;
  for (auto& [peer, prober] : probers_)
    prober->stop();
  co_await responder_.stop();
  co_await tasks_.stop();
}

}  // namespace oceanid::tunnel
