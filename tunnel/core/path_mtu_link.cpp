#include "tunnel/core/path_mtu_link.hpp"

#include <algorithm>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Duration = PathMtuLink::Duration;

constexpr unsigned udp_header = 8;
constexpr Duration first_pause = 500ms;  // between small questions that nobody answers
constexpr Duration longest_pause = 10s;
constexpr Duration tell_pause = 200ms;  // news, until it is acknowledged
constexpr Duration quiet = 12s;         // without an answer: the other end is not there
constexpr Duration raise_hold = 100ms;  // a raise is not undone by the next answer
constexpr Duration raise_wait = 1s;     // for the other end to raise first
constexpr std::size_t most_asked = 1024;
constexpr double most_budget = 300;  // answers
constexpr Duration longest_distrust = std::chrono::hours(8);
constexpr double budget_a_second = 200;

unsigned headers(Family outer) {
  return (outer == Family::v4 ? 20 : 40) + udp_header;
}

}  // namespace

PathMtuLink::PathMtuLink(const Settings& settings, PathProbeKey key, std::uint64_t session,
                         Time now)
    : settings_(settings),
      key_(std::move(key)),
      distrust_(settings.raise),
      recipient_(key_.recipient_for(settings.role)),
      other_recipient_(key_.recipient_of(settings.role)),
      search_({settings.outer, settings.largest, settings.raise}),
      session_(session),
      inner_(settings.inner),
      ask_at_(settings.role == PathProbeRole::dialler ? now : Time::max()),
      ask_pause_(first_pause),
      budget_(most_budget),
      budget_at_(now) {}

unsigned PathMtuLink::smallest() const {
  return headers(settings_.outer) + static_cast<unsigned>(path_probe_size);
}

bool PathMtuLink::answered(Time now) const {
  return last_answer_ && now - *last_answer_ < quiet;
}

unsigned PathMtuLink::own_report() const {
  if (const auto size = search_.size())
    return trusted_from_ ? std::min(*size, contradicted_path) : *size;
  return search_.state() == SearchState::error
             ? smallest_inner_mtu + encapsulation_overhead(settings_.outer)
             : 0;
}

std::optional<unsigned> PathMtuLink::path() const {
  const unsigned own = own_report();
  if (own == 0 || report_ == 0) return std::nullopt;
  return std::min(own, report_);
}

std::optional<unsigned> PathMtuLink::allowed() const {
  const auto both = path();
  if (!both) return std::nullopt;
  return std::max(settings_.least_inner, inner_mtu(*both, settings_.outer));
}

bool PathMtuLink::below_floor() const {
  const auto both = path();
  return both && inner_mtu(*both, settings_.outer) < settings_.least_inner;
}

bool PathMtuLink::news() const {
  return told_report_ != own_report() || told_applied_ != inner_;
}

PathMtuLink::Datagram PathMtuLink::make(PathProbeType type, unsigned size, Time now) {
  PathProbePacket packet;
  packet.type = type;
  packet.recipient = other_recipient_;
  packet.session = session_;
  packet.to_session = their_session_;
  packet.number = ++number_;
  packet.size = static_cast<std::uint16_t>(size);
  packet.report = static_cast<std::uint16_t>(own_report());
  packet.applied = static_cast<std::uint16_t>(inner_);
  packet.sent = static_cast<std::uint64_t>(now.time_since_epoch().count());
  return {key_.seal(packet), size, packet.number};
}

std::optional<PathMtuLink::Datagram> PathMtuLink::next_question(Time now) {
  settle(now);
  std::uint64_t probe = 0;
  unsigned size = smallest();
  if (now >= ask_at_) {
    // Not answered: ever less often. Something to say: soon again, until it is heard.
    ask_pause_ = answered(now) ? tell_pause : std::min(ask_pause_ * 2, longest_pause);
    ask_at_ = now + ask_pause_;
    if (answered(now) && !news()) {
      ask_at_ = now + quiet / 3;
      if (now - *last_answer_ < quiet / 3) return next_question(now);
    }
  } else {
    const auto wanted = search_.next_probe(now);
    if (!wanted) return std::nullopt;
    probe = wanted->id;
    size = wanted->size;
  }
  Datagram question = make(PathProbeType::question, size, now);
  if (asked_.size() >= most_asked) asked_.pop_front();
  asked_.push_back({question.number, probe});
  if (probe == 0) {
    telling_ = question.number;
    telling_report_ = own_report();
    telling_applied_ = inner_;
  }
  return question;
}

PathMtuLink::Time PathMtuLink::wake_at() const {
  Time at = std::min(ask_at_, search_.wake_at());
  if (trusted_from_) at = std::min(at, *trusted_from_);
  if (raise_since_)
    at = std::min(at, *raise_since_ +
                          (settings_.role == PathProbeRole::responder || peer_applied_ >= raise_to_
                               ? raise_hold
                               : raise_wait));
  return at;
}

bool PathMtuLink::take_budget(Time now) {
  const std::chrono::duration<double> passed = now - budget_at_;
  budget_ = std::min(most_budget, budget_ + passed.count() * budget_a_second);
  budget_at_ = now;
  if (budget_ < 1) return false;
  budget_ -= 1;
  return true;
}

PathMtuLink::Heard PathMtuLink::receive(std::span<const std::uint8_t> head, unsigned size,
                                        Time now) {
  Heard heard;
  const auto packet = key_.open(head);
  if (!packet || packet->recipient != recipient_ || packet->session == 0) return heard;
  if (packet->type == PathProbeType::answer) {
    if (packet->to_session == session_) take_answer(*packet, now);
    settle(now);
    return heard;
  }
  if (packet->size != size || !take_budget(now)) return heard;
  const bool former = std::ranges::find(former_, packet->session) != former_.end();
  if (packet->to_session == session_ && !former) {
    if (packet->session != their_session_) {
      if (their_session_ != 0) former_[formers_++ % former_.size()] = their_session_;
      their_session_ = packet->session;
      window_ = {};
    }
    heard.fresh = window_.accept(packet->number);
  }
  // The answer names their session even when it is not to be believed: that is how a new one is
  // told ours.
  const std::uint64_t known = their_session_;
  their_session_ = packet->session;
  if (heard.fresh) {
    believe(*packet, now);
    search_.start(now);
    if (ask_at_ == Time::max()) ask_at_ = now;
    last_answer_ = now;  // it has heard us, or it would not know our session
  }
  PathProbePacket answer;
  answer.type = PathProbeType::answer;
  answer.acked_size = static_cast<std::uint16_t>(size);
  answer.recipient = other_recipient_;
  answer.session = session_;
  answer.to_session = packet->session;
  answer.number = ++number_;
  answer.acked = packet->number;
  answer.size = static_cast<std::uint16_t>(smallest());
  answer.report = static_cast<std::uint16_t>(own_report());
  answer.applied = static_cast<std::uint16_t>(inner_);
  answer.sent = static_cast<std::uint64_t>(now.time_since_epoch().count());
  heard.answer = Datagram{key_.seal(answer), smallest(), answer.number};
  their_session_ = known;
  settle(now);
  return heard;
}

std::optional<std::uint64_t> PathMtuLink::probe_of(std::uint64_t number) {
  const auto at = std::ranges::find(asked_, number, &Asked::number);
  if (at == asked_.end()) return std::nullopt;
  const std::uint64_t probe = at->probe;
  asked_.erase(at);
  return probe;
}

void PathMtuLink::take_answer(const PathProbePacket& packet, Time now) {
  const auto probe = probe_of(packet.acked);
  if (!probe) return;
  const bool first = !answered(now);
  last_answer_ = now;
  their_session_ = packet.session;
  believe(packet, now);
  if (packet.acked == telling_) {
    told_report_ = telling_report_;
    told_applied_ = telling_applied_;
  }
  if (*probe != 0)
    search_.on_ack(*probe, now);
  else
    search_.start(now);
  // At once: the other end begins with the way back when it is asked by its session's name.
  if (first) ask_at_ = now;
}

void PathMtuLink::believe(const PathProbePacket& packet, Time) {
  report_ = packet.report;
  peer_applied_ = packet.applied;
}

void PathMtuLink::settle(Time now) {
  if (trusted_from_ && now >= *trusted_from_) trusted_from_.reset();
  const unsigned before = own_report();
  if (const auto wanted = allowed()) {
    if (*wanted <= inner_) {
      inner_ = *wanted;
      raise_since_.reset();
    } else {
      if (!raise_since_ || raise_to_ != *wanted) {
        raise_since_ = now;
        raise_to_ = *wanted;
      }
      const bool may = settings_.role == PathProbeRole::responder || peer_applied_ >= raise_to_;
      if (now - *raise_since_ >= (may ? raise_hold : raise_wait)) {
        inner_ = raise_to_;
        raise_since_.reset();
      }
    }
  } else {
    raise_since_.reset();
  }
  if (answered(now) && news() && (telling_report_ != before || telling_applied_ != inner_))
    ask_at_ = std::min(ask_at_, now);
}

void PathMtuLink::on_refused(std::uint64_t number, Time now) {
  if (const auto probe = probe_of(number); probe && *probe != 0) search_.on_refused(*probe, now);
  settle(now);
}

void PathMtuLink::on_hint(std::span<const std::uint8_t> quoted, unsigned mtu, Time now) {
  // Routers that quote less are not believed: only the MAC says that the quoted packet is ours.
  const auto packet = key_.open(quoted);
  if (!packet || packet->session != session_ || packet->type != PathProbeType::question) return;
  if (const auto probe = probe_of(packet->number); probe && *probe != 0)
    search_.on_hint(*probe, mtu, now);
  settle(now);
}

void PathMtuLink::on_contradiction(Time now) {
  const auto size = search_.size();
  if (trusted_from_ || !size || *size <= contradicted_path) return;
  trusted_from_ = now + distrust_;
  distrust_ = std::min(distrust_ * 2, longest_distrust);
  settle(now);
}

void PathMtuLink::on_network_change(unsigned largest, Time now) {
  search_.on_network_change(largest, now);
  trusted_from_.reset();
  ask_pause_ = first_pause;
  if (ask_at_ != Time::max()) ask_at_ = now;
}

}  // namespace oceanid::tunnel
