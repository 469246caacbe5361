// TunnelManager: what an operator asks and is told about this node's own key.

#include "gateway/base/runtime/log.hpp"
#include "tunnel/edge/key_store.hpp"
#include "tunnel/edge/manager.hpp"

#include <algorithm>

namespace oceanid::tunnel {

std::optional<KeyStatus> TunnelManager::key_status() const {
  if (!public_key_) return std::nullopt;
  KeyStatus status;
  status.public_key = *public_key_;
  status.lifetime = wanted_.settings.key_lifetime;
  if (const auto born = key_born(key_path(wanted_.settings))) {
    status.age = std::max(std::chrono::seconds(0), std::chrono::floor<std::chrono::seconds>(
                                                       std::chrono::system_clock::now() - *born));
    status.too_old = *status.age > status.lifetime;
  }
  status.next = rotation_.key();
  status.phase = rotation_.phase();
  status.held = rotation_.held();
  if (status.phase != Rotation::Phase::none) status.peers = rotation_.peers(Clock::now());
  status.refused = refused_;
  return status;
}

void TunnelManager::warn_about_age() {
  const auto status = key_status();
  if (!status || !status->too_old || age_warned_) return;
  age_warned_ = true;
  log::warn(
      "tunnel", "the key of this node is older than tunnel.key_lifetime",
      {{"age_days", std::to_string(std::chrono::floor<std::chrono::days>(*status->age).count())},
       {"remedy", "oceanid keys rotate"}});
}

Result<void> TunnelManager::prepare_rotation() {
  const auto next = load_or_create_private_key(next_key_path(key_path(wanted_.settings)));
  if (!next) return std::unexpected(next.error());
  const auto shown = public_key_of(*next);
  if (!shown) return std::unexpected(shown.error());
  rotation_.prepare(*shown, peer_names());
  log::info("tunnel", "a next key of this node is prepared", {{"public_key", shown->to_base64()}});
  return {};
}

awaitable<Result<std::string>> TunnelManager::rotate(RotateRequest request) {
  const auto guard = co_await lock_.acquire();
  if (!secrets_) co_return fail(Errc::closed, "the tunnels are still starting");
  const auto phase = rotation_.phase();
  if (request.abandon) {
    if (phase == Rotation::Phase::none) co_return fail(Errc::not_found, "no next key is prepared");
    if (phase != Rotation::Phase::waiting)
      co_return fail(Errc::already_exists, "too late: the next key is in force");
    if (auto removed = remove_key(next_key_path(key_path(wanted_.settings))); !removed)
      co_return std::unexpected(std::move(removed.error()));
    rotation_.abandon();
    co_return std::string("the next key is removed; nothing has changed");
  }
  if (phase == Rotation::Phase::none) {
    if (auto prepared = prepare_rotation(); !prepared)
      co_return std::unexpected(std::move(prepared.error()));
  }
  if (phase == Rotation::Phase::waiting) rotation_.release();
  if (request.force && rotation_.phase() == Rotation::Phase::waiting) rotation_.force();
  const std::string text = rotation_text();
  poke();
  co_return text;
}

std::string TunnelManager::rotation_text() const {
  const auto words = [](Rotation::PeerState state) {
    switch (state) {
      case Rotation::PeerState::silent:
        return "has not answered";
      case Rotation::PeerState::unknown:
        return "does not know the next key";
      case Rotation::PeerState::ready:
        return "ready";
      case Rotation::PeerState::turned:
        return "uses the next key";
    }
    return "";
  };
  std::string out;
  if (rotation_.phase() == Rotation::Phase::turned) {
    out = "the next key is in force: " + rotation_.key()->to_base64() +
          "\nname it as public_key of this node at its peers, without next_public_key; the former "
          "key is removed three minutes after the turn";
  } else {
    out = "next public key: " + rotation_.key()->to_base64() +
          "\nput it as next_public_key of this node at each of its peers and reload them; this "
          "node turns to it by itself as soon as all of them know it";
    if (rotation_.forced()) out += "\nforced: it turns now, whoever knows it";
  }
  for (const Rotation::Peer& peer : rotation_.peers(Clock::now()))
    out += "\n  " + peer.name + ": " + words(peer.state);
  if (!rotation_.held().empty()) out += "\n" + rotation_.held();
  return out;
}

}  // namespace oceanid::tunnel
