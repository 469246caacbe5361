#include "tunnel/core/transport_ladder.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr LadderPolicy::Duration fast_probes = 200ms;
constexpr LadderPolicy::Duration fresh = 1s;  // five fast probes: an answer this old still counts
constexpr LadderPolicy::Duration stagger = 250ms;       // of the start: UDP 443 after UDP
constexpr LadderPolicy::Duration watched_return = 10s;  // TLS stays up for so long after a return
constexpr int missed_probes = 3;                        // in a row end a streak
constexpr unsigned most_rounds = 4;                     // trials of up to 48 s

}  // namespace

TransportLadder::TransportLadder(const LadderPolicy& policy, Time now)
    : policy_(policy),
      first_(*std::ranges::find_if(all_transports.begin(), all_transports.end() - 1,
                                   [&](Transport rung) { return policy.allowed[index_of(rung)]; })),
      current_(first_),
      since_(now),
      patience_(policy.patience) {}

void TransportLadder::on_echo(Time at) {
  if (last_echo_ && at <= *last_echo_) return;
  last_echo_ = at;
  if (at <= since_) return;  // it came by the rung of before
  tried_ = {};
  rounds_ = 0;
}

void TransportLadder::on_answer(Transport rung, Time now) {
  Evidence& evidence = evidence_[index_of(rung)];
  evidence.last_answer = now;
  if (!evidence.streak_since) evidence.streak_since = now;
  ++evidence.streak;
}

void TransportLadder::on_link(Transport rung, bool up, Time now) {
  Evidence& evidence = evidence_[index_of(rung)];
  if (evidence.link_up == up) return;
  evidence.link_up = up;
  begin_streak(evidence, now);
}

// A connection that stands is a streak by itself; answers have to come first.
void TransportLadder::begin_streak(Evidence& evidence, Time now) const {
  evidence.streak = evidence.link_up ? policy_.successes : 0;
  evidence.streak_since = evidence.link_up ? std::optional(now) : std::nullopt;
}

// A probe interval fits more than ten times into the shortest patience.
TransportLadder::Duration TransportLadder::probe_interval() const {
  return policy_.patience / static_cast<int>(policy_.successes + 2);
}

bool TransportLadder::has_evidence(Transport rung, Time now) const {
  const Evidence& evidence = evidence_[index_of(rung)];
  if (!is_udp(rung)) return evidence.link_up;
  return evidence.last_answer && now - *evidence.last_answer <= fresh;
}

TransportLadder::Duration TransportLadder::quiet(Time now) const {
  return now - std::max(since_, last_echo_.value_or(since_));
}

void TransportLadder::break_streaks(Time now) {
  for (Evidence& evidence : evidence_) {
    if (!evidence.last_answer || now - *evidence.last_answer <= missed_probes * probe_interval())
      continue;
    begin_streak(evidence, now);
  }
}

std::optional<Transport> TransportLadder::preferred_again(Time now) const {
  if (quiet(now) >= policy_.silence) return std::nullopt;  // first of all something has to carry
  for (const Transport rung : all_transports) {
    if (rung == current_) return std::nullopt;
    const Evidence& evidence = evidence_[index_of(rung)];
    if (allowed(rung) && evidence.streak_since && evidence.streak >= policy_.successes &&
        now - *evidence.streak_since >= patience_)
      return rung;
  }
  return std::nullopt;
}

bool TransportLadder::returned_in_vain() const {
  return returned_at_ == since_ && (!last_echo_ || *last_echo_ <= since_);
}

TransportLadder::Duration TransportLadder::patience_with_current(Time now) const {
  // A return that brings no echo was wrong, whatever the probes say.
  if (has_evidence(current_, now) && !returned_in_vain())
    return std::max(policy_.silence, policy_.trial * (1U << std::min(rounds_, most_rounds)));
  return last_echo_ ? policy_.silence : policy_.silence / 2;
}

std::optional<Transport> TransportLadder::way_out(Time now) {
  if (quiet(now) < patience_with_current(now)) return std::nullopt;
  if (returned_in_vain() && has_evidence(returned_from_, now)) return returned_from_;
  const auto candidate = [&](bool again) -> std::optional<Transport> {
    for (const Transport rung : all_transports)
      if (rung != current_ && allowed(rung) && has_evidence(rung, now) &&
          (again || !tried_[index_of(rung)]))
        return rung;
    return std::nullopt;
  };
  if (const auto rung = candidate(false)) return rung;
  const auto rung = candidate(true);
  if (!rung) return std::nullopt;
  tried_ = {};
  ++rounds_;
  return rung;
}

void TransportLadder::move(Transport to, Time now) {
  const bool back = to < current_;
  const bool silent = quiet(now) >= policy_.silence;
  if (silent) tried_[index_of(current_)] = true;
  if (!back && returned_at_ && now - *returned_at_ < policy_.settled)
    patience_ = std::min(patience_ * 2, policy_.longest_patience);
  // Away from a rung that has gone silent is no return that anybody has to prove.
  returned_at_ = back && !silent ? std::optional(now) : std::nullopt;
  if (back) returned_from_ = current_;
  current_ = to;
  since_ = now;
  ++moves_;
  for (Evidence& evidence : evidence_)  // the next return is earned anew
    begin_streak(evidence, now);
}

TransportLadder::Orders TransportLadder::orders(Time now) const {
  Orders out;
  out.use = current_;
  const Duration silent = quiet(now);
  // Nothing has ever come: the race of a start. Later: doubt, or a return that is not proven yet.
  const bool starting = !last_echo_;
  const bool doubt = silent >= policy_.suspicion;
  const bool watched = returned_at_ && now - *returned_at_ < watched_return;
  const bool dial = starting ? silent >= policy_.silence || !is_udp(current_) : doubt || watched;
  out.dial_tls = allowed(Transport::tls) &&
                 (current_ == Transport::tls || current_ == Transport::proxied || dial);
  // The proxy is asked only where the straight way does not stand.
  out.dial_proxied =
      allowed(Transport::proxied) &&
      (current_ == Transport::proxied ||
       (dial && silent >= policy_.silence && !evidence_[index_of(Transport::tls)].link_up));
  if (allowed(Transport::udp) || allowed(Transport::udp_443)) {
    if (doubt || (starting && silent >= stagger))
      out.probe_every = fast_probes;
    else if (current_ != first_)
      out.probe_every = probe_interval();
  }
  return out;
}

TransportLadder::Orders TransportLadder::advance(Time now) {
  break_streaks(now);
  if (returned_at_ && now - *returned_at_ >= policy_.settled) {
    returned_at_.reset();
    patience_ = policy_.patience;
  }
  if (const auto up = preferred_again(now))
    move(*up, now);
  else if (const auto down = way_out(now))
    move(*down, now);
  return orders(now);
}

}  // namespace oceanid::tunnel
