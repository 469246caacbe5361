#include "tunnel/core/rotation.hpp"

#include <algorithm>

namespace oceanid::tunnel {

void Rotation::prepare(const PublicKey& next, std::vector<std::string> peers) {
  if (phase_ == Phase::waiting && key_ == next) return set_peers(std::move(peers));
  phase_ = Phase::waiting;
  key_ = next;
  forced_ = false;
  held_.clear();
  asked_at_.reset();
  peers_.clear();
  set_peers(std::move(peers));
}

void Rotation::set_peers(std::vector<std::string> peers) {
  std::vector<Known> next;
  for (std::string& name : peers) {
    const auto known = std::ranges::find(peers_, name, &Known::name);
    next.push_back(known == peers_.end() ? Known{.name = std::move(name)} : *known);
  }
  peers_ = std::move(next);
}

void Rotation::abandon() {
  if (phase_ == Phase::turned) return;
  phase_ = Phase::none;
  key_.reset();
  held_.clear();
  forced_ = false;
}

void Rotation::found_former(Time now) {
  if (!former_since_) former_since_ = now;
}

void Rotation::on_answer(const std::string& peer, const RotationMessage& message, Time now) {
  const auto at = std::ranges::find(peers_, peer, &Known::name);
  if (at == peers_.end() || message.key != key_) return;
  if (message.type == RotationType::ready)
    at->state = PeerState::ready;
  else if (message.type == RotationType::turned)
    at->state = PeerState::turned;
  else if (message.type == RotationType::unknown)
    at->state = PeerState::unknown;
  else
    return;
  at->answered_at = now;
}

Rotation::PeerState Rotation::state_of(const Known& peer, Time now) const {
  if (phase_ == Phase::turned) return peer.state;
  return now - peer.answered_at < answer_life ? peer.state : PeerState::silent;
}

// A peer at which the key is in force already is as good as ready: it has come back from a turn
// that we have taken back, or its operator was faster.
bool Rotation::all_ready(Time now) const {
  return std::ranges::all_of(peers_, [&](const Known& peer) {
    const PeerState state = state_of(peer, now);
    return state == PeerState::ready || state == PeerState::turned;
  });
}

bool Rotation::all_back() const {
  return std::ranges::all_of(
      peers_, [](const Known& peer) { return !peer.expected || peer.state == PeerState::turned; });
}

std::optional<Rotation::Time::duration> Rotation::ask_pause(Time now) const {
  if (phase_ == Phase::waiting) return ask_interval;
  const bool all_turned = std::ranges::all_of(
      peers_, [](const Known& peer) { return peer.state == PeerState::turned; });
  if (phase_ != Phase::turned || all_turned) return std::nullopt;
  if (now - phase_since_ < return_time) return urge_interval;
  return ask_interval;
}

Rotation::Time::duration Rotation::patience(Time now) const {
  if (phase_ == Phase::announced) return notice / 4;
  return ask_pause(now).value_or(ask_interval);
}

std::string Rotation::missing() const {
  std::string names;
  for (const Known& peer : peers_)
    if (peer.expected && peer.state != PeerState::turned)
      names += (names.empty() ? "" : ", ") + peer.name;
  return names;
}

Rotation::Step Rotation::due(Time now) const {
  if (phase_ == Phase::announced) return now - phase_since_ >= notice ? Step::turn : Step::nothing;
  if (phase_ == Phase::waiting && held_.empty() && (forced_ || all_ready(now)))
    return Step::announce;
  if (phase_ == Phase::turned && !all_back() && !forced_ && now - phase_since_ >= return_time)
    return Step::go_back;
  if (const auto pause = ask_pause(now); pause && (!asked_at_ || now - *asked_at_ >= *pause))
    return Step::ask;
  if (former_since_ && now - *former_since_ >= former_life) return Step::forget;
  return Step::nothing;
}

void Rotation::done(Step step, bool ok, Time now) {
  if (step == Step::ask) {
    asked_at_ = now;
  } else if (step == Step::announce) {
    phase_ = Phase::announced;
    phase_since_ = now;
  } else if (step == Step::turn) {
    phase_ = ok ? Phase::turned : Phase::waiting;
    phase_since_ = now;
    if (!ok) {
      held_ = "the next key could not be put in place";
      return;
    }
    former_since_ = now;
    asked_at_.reset();
    for (Known& peer : peers_) {
      peer.expected = state_of(peer, now) == PeerState::ready;
      peer.state = PeerState::silent;
    }
  } else if (step == Step::go_back) {
    held_ = "went back to the former key: with the next one there was no answer of " + missing() +
            " within " + std::to_string(return_time.count()) + " s";
    if (ok) former_since_.reset();
    phase_ = ok ? Phase::waiting : Phase::none;
    asked_at_.reset();
    for (Known& peer : peers_)
      peer.state = PeerState::silent;
  } else if (step == Step::forget) {
    former_since_.reset();
    if (phase_ == Phase::turned) {
      phase_ = Phase::none;
      key_.reset();
      forced_ = false;
    }
  }
}

std::vector<Rotation::Peer> Rotation::peers(Time now) const {
  std::vector<Peer> out;
  for (const Known& peer : peers_)
    out.push_back({peer.name, state_of(peer, now)});
  return out;
}

const char* to_string(Rotation::Phase phase) {
  switch (phase) {
    case Rotation::Phase::none:
      return "none";
    case Rotation::Phase::waiting:
      return "waiting";
    case Rotation::Phase::announced:
      return "announced";
    case Rotation::Phase::turned:
      return "turned";
  }
  return "none";
}

const char* to_string(Rotation::PeerState state) {
  switch (state) {
    case Rotation::PeerState::silent:
      return "silent";
    case Rotation::PeerState::unknown:
      return "unknown";
    case Rotation::PeerState::ready:
      return "ready";
    case Rotation::PeerState::turned:
      return "turned";
  }
  return "silent";
}

}  // namespace oceanid::tunnel
