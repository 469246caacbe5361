#include "tunnel/core/path_mtu_search.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Duration = PathMtuSearch::Duration;

constexpr Duration spacing = 2ms;
constexpr Duration least_try = 1s;     // PROBE_TIMER, RFC 8899 section 5.1.1
constexpr Duration busy_pace = 250ms;  // CONFIRMATION_TIMER
constexpr Duration idle_pace = 5s;
constexpr Duration busy_for = 3s;  // after the last word of traffic
constexpr Duration duel_pace = 25ms;
constexpr Duration outage_pace = 1s;
constexpr Duration flank = 60ms;  // two pairs
constexpr std::size_t most_heard = 256;
constexpr unsigned outage_pairs = 40;  // without any answer
constexpr Duration cooldown = 60s;     // after a black hole, as quinn has it
constexpr Duration error_pause = 10s;
constexpr double search_chance = 1e-5;  // of taking ordinary losses for a size that is too large
constexpr double fall_chance = 1e-8;
constexpr double lossy = 0.1;
constexpr unsigned best_lost = 3;     // in a row
constexpr unsigned lossy_ladder = 3;  // missing ones before a ladder is worth its bytes
constexpr std::size_t most_of_a_round = 20;
constexpr std::size_t jumbo_of_a_round = 8;

// All candidates in (low, high) if they are few, else `most` of them, evenly spread.
void add_candidates(unsigned low, unsigned high, std::size_t most, std::vector<unsigned>& out) {
  if (high <= low + mtu_step) return;
  const std::size_t count = (high - low - 1) / mtu_step;
  if (count <= most) {
    for (std::size_t i = 1; i <= count; ++i)
      out.push_back(low + static_cast<unsigned>(i) * mtu_step);
    return;
  }
  for (std::size_t i = 1; i <= most; ++i)
    out.push_back(low + static_cast<unsigned>(i * (count + 1) / (most + 1)) * mtu_step);
}

}  // namespace

PathMtuSearch::PathMtuSearch(const Settings& settings) : settings_(settings) {
  settings_.largest = std::min(settings_.largest, largest_path_mtu);
}

SearchState PathMtuSearch::state() const {
  if (!started_ || !settled_) return SearchState::base;
  if (confirmed_ < base_path_mtu(settings_.outer)) return SearchState::error;
  return searching_ ? SearchState::searching : SearchState::complete;
}

void PathMtuSearch::start(Time now) {
  if (started_) return;
  started_ = true;
  floor_ = base_path_mtu(settings_.outer);
  send_at_ = now;
  search(settings_.largest + 1, now);
}

void PathMtuSearch::search(unsigned ceiling, Time now) {
  searching_ = true;
  hint_.reset();
  queue_.clear();
  // The first size that is too large for the link, on the grid of candidates.
  ceiling_ = aligned_path_mtu(ceiling - 1, settings_.outer) + mtu_step;
  begin_round(now);
}

void PathMtuSearch::begin_round(Time now) {
  const unsigned low = confirmed_ > 0 ? confirmed_ : floor_ - mtu_step;
  wanted_.clear();
  tries_ = 0;
  const unsigned ethernet = aligned_path_mtu(default_path_mtu, settings_.outer);
  if (low < ethernet && ceiling_ > ethernet + mtu_step) {
    add_candidates(low, ethernet + mtu_step, most_of_a_round, wanted_);
    add_candidates(ethernet, ceiling_, jumbo_of_a_round, wanted_);
    // What an Ethernet with jumbo frames carries is likely, and no spread would name it.
    const unsigned top = ceiling_ - mtu_step;
    if (wanted_.back() < top) wanted_.push_back(top);
  } else {
    add_candidates(low, ceiling_, most_of_a_round, wanted_);
  }
  if (wanted_.empty()) {
    if (confirmed_ > 0) complete(now);
    return;
  }
  send_wanted(now);
}

void PathMtuSearch::send_wanted(Time now) {
  ++tries_;
  queue_.assign(wanted_.rbegin(), wanted_.rend());
  if (confirmed_ > 0) queue_.insert(queue_.end(), 4, confirmed_);  // how much gets lost anyhow
  const auto wait = ledger_.rtt() ? std::max(least_try, 3 * *ledger_.rtt()) : least_try;
  try_ends_ = now + spacing * static_cast<int>(queue_.size()) + wait;
}

// A round is over when nothing of it is larger than what has passed, or when the rest was tried
// often enough.
void PathMtuSearch::finish_round(Time now) {
  const bool tired = !wanted_.empty() && tries_ >= ledger_.enough(search_chance);
  if (!wanted_.empty() && !tired) {
    send_wanted(now);
    return;
  }
  if (tired && confirmed_ == 0) {
    // Not even the base size: look below it, and after that once in a while (ERROR).
    const bool looked = floor_ == smallest();
    floor_ = smallest();
    settled_ = true;
    if (!looked) return search(base_path_mtu(settings_.outer), now);
    searching_ = false;
    floor_ = base_path_mtu(settings_.outer);
    raise_at_ = now + error_pause;
    return;
  }
  if (tired) ceiling_ = wanted_.front();
  begin_round(now);
}

void PathMtuSearch::complete(Time now) {
  searching_ = false;
  settled_ = true;
  queue_.clear();
  wanted_.clear();
  Duration pause = settings_.raise;
  if (std::exchange(fallen_, false)) pause = std::min(pause, cooldown);
  if (confirmed_ < base_path_mtu(settings_.outer)) pause = std::min(pause, error_pause);
  raise_at_ = now + pause;
}

void PathMtuSearch::drop_larger_than_confirmed() {
  std::erase_if(wanted_, [&](unsigned size) { return size <= confirmed_; });
  std::erase_if(queue_, [&](unsigned size) { return size < confirmed_; });
}

void PathMtuSearch::on_ack(std::uint64_t id, Time now) {
  const auto probe = ledger_.acknowledged(id, now);
  if (!probe) return;
  if (duel_) {
    if (probe->size >= confirmed_) {
      duel_.reset();
      urgent_.clear();
    } else if (probe->sent >= duel_->since) {
      duel_->heard.insert(probe->sent);
      if (duel_->heard.size() > most_heard) duel_->heard.erase(duel_->heard.begin());
      if (probe->size >= duel_->best) {
        duel_->best = probe->size;
        duel_->best_sent = probe->sent;
      }
    }
  }
  if (probe->size < smallest() || probe->size <= confirmed_) return;
  if (confirmed_ == 0) confirm_at_ = now + busy_pace;
  confirmed_ = probe->size;
  if (!searching_) return;
  drop_larger_than_confirmed();
  const bool hinted = hint_ && confirmed_ >= *hint_;
  if (hinted) {
    // The router's word has come true from below; it is believed from above, until the raise timer.
    ceiling_ = std::min(ceiling_, *hint_ + mtu_step);
    std::erase_if(wanted_, [&](unsigned size) { return size >= ceiling_; });
  }
  if (wanted_.empty()) {
    settled_ = true;
    begin_round(now);
  }
}

void PathMtuSearch::on_refused(std::uint64_t id, Time now) {
  const auto size = ledger_.size_of(id);
  if (size && *size <= confirmed_) {
    ledger_.give_up(id);
    on_suspicion(now);
    return;
  }
  const auto probe = ledger_.withdrawn(id);
  if (!probe || !searching_) return;
  ceiling_ = std::min(ceiling_, probe->size);
  std::erase_if(wanted_, [&](unsigned size) { return size >= ceiling_; });
  std::erase_if(queue_, [&](unsigned size) { return size >= ceiling_; });
  if (wanted_.empty() && confirmed_ > 0) begin_round(now);
}

// Section 4.6.1 of RFC 8899: a value that is no smaller than what was probed is ignored, as is one
// below the base; the rest says where to look.
void PathMtuSearch::on_hint(std::uint64_t id, unsigned size, Time now) {
  const auto probed = ledger_.size_of(id);
  if (!probed || size >= *probed || size < base_path_mtu(settings_.outer)) return;
  ledger_.give_up(id);
  const unsigned named = aligned_path_mtu(size, settings_.outer);
  if (confirmed_ > 0 && named < confirmed_) {
    if (!duel_) begin_duel(now);
    if (duel_->pairs == 0) urgent(named);
    return;
  }
  if (!searching_) return;
  hint_ = hint_ ? std::min(*hint_, named) : named;
  if (confirmed_ < *hint_) {
    // Tried at once, in front of the rest.
    if (std::ranges::find(queue_, *hint_) == queue_.end()) queue_.push_front(*hint_);
    if (std::ranges::find(wanted_, *hint_) == wanted_.end())
      wanted_.insert(std::ranges::lower_bound(wanted_, *hint_), *hint_);
    return;
  }
  ceiling_ = std::min(ceiling_, *hint_ + mtu_step);
  std::erase_if(wanted_, [&](unsigned wanted) { return wanted >= ceiling_; });
  if (wanted_.empty()) {
    settled_ = true;
    begin_round(now);
  }
}

void PathMtuSearch::on_traffic(Time now) {
  busy_until_ = now + busy_for;
  confirm_at_ = std::min(confirm_at_, now + busy_pace);
}

void PathMtuSearch::on_suspicion(Time now) {
  if (confirmed_ > base_path_mtu(settings_.outer) && !duel_) begin_duel(now);
}

void PathMtuSearch::on_network_change(unsigned largest, Time now) {
  settings_.largest = std::min(largest, largest_path_mtu);
  if (!started_) return;
  on_suspicion(now);
  search(std::max(settings_.largest, confirmed_) + 1, now);
}

void PathMtuSearch::begin_duel(Time now) {
  duel_ = Duel{};
  duel_->since = duel_->next = now;
}

// What got lost while smaller ones arrived that were sent just before and just after it; the rest
// may be an outage.
std::size_t PathMtuSearch::evidence() const {
  const std::set<Time>& heard = duel_->heard;
  const std::vector<Time> missing = ledger_.missing_since(confirmed_, duel_->since);
  return static_cast<std::size_t>(std::ranges::count_if(missing, [&](Time sent) {
    const auto after = heard.lower_bound(sent);
    if (after == heard.end() || after == heard.begin()) return false;
    return *after - sent <= flank && sent - *std::prev(after) <= flank;
  }));
}

void PathMtuSearch::fight(Time now) {
  const std::size_t missing = evidence();
  if (missing >= ledger_.enough(fall_chance)) return fall(now);
  if (!duel_->ladder && (ledger_.loss() < lossy || missing >= lossy_ladder)) {
    duel_->ladder = true;
    std::vector<unsigned> steps;
    add_candidates(base_path_mtu(settings_.outer), confirmed_, most_of_a_round, steps);
    urgent_.insert(urgent_.end(), steps.rbegin(), steps.rend());
  }
  if (now < duel_->next) return;
  const unsigned base = base_path_mtu(settings_.outer);
  if (duel_->best > base && ledger_.missing(duel_->best, duel_->best_sent) >= best_lost) {
    // The path has changed during the duel: once more from the start.
    duel_->best = base;
    duel_->ladder = false;
  }
  ++duel_->pairs;
  const bool outage = duel_->heard.empty() && duel_->pairs > outage_pairs;
  duel_->next = now + (outage ? outage_pace : duel_pace);
  urgent(confirmed_);
  urgent(duel_->pairs % 2 == 0 ? base : std::max(duel_->best, base));
}

void PathMtuSearch::fall(Time now) {
  const unsigned refused = confirmed_;
  confirmed_ = std::max(duel_->best, base_path_mtu(settings_.outer));
  ++black_holes_;
  fallen_ = true;
  duel_.reset();
  urgent_.clear();
  ledger_.forget_all();  // late answers from before the change must not raise it again
  confirm_at_ = now + busy_pace;
  search(refused, now);
}

void PathMtuSearch::confirm(Time now) {
  if (confirmed_ == 0) return;
  if (!duel_ && confirmed_ > base_path_mtu(settings_.outer) && ledger_.missing(confirmed_) > 0)
    begin_duel(now);
  if (duel_) return fight(now);
  if (now < confirm_at_) return;
  urgent(confirmed_);
  confirm_at_ = now + (now < busy_until_ ? busy_pace : idle_pace);
}

void PathMtuSearch::advance(Time now) {
  ledger_.expire(now);
  confirm(now);
  if (searching_) {
    if (now < try_ends_ || !queue_.empty()) return;
    if (confirmed_ > 0) settled_ = true;
    finish_round(now);
  } else if (now >= raise_at_) {
    search(std::max(settings_.largest, confirmed_) + 1, now);
  }
}

std::optional<PathMtuSearch::Probe> PathMtuSearch::next_probe(Time now) {
  if (!started_) return std::nullopt;
  advance(now);
  if (now < send_at_) return std::nullopt;
  std::deque<unsigned>& from = urgent_.empty() ? queue_ : urgent_;
  if (from.empty()) return std::nullopt;
  const unsigned size = from.front();
  from.pop_front();
  send_at_ = now + spacing;
  return Probe{ledger_.sent(size, now), size};
}

PathMtuSearch::Time PathMtuSearch::wake_at() const {
  if (!started_) return Time::max();
  if (!urgent_.empty() || !queue_.empty()) return send_at_;
  Time at = searching_ ? try_ends_ : raise_at_;
  if (confirmed_ == 0) return at;
  at = std::min(at, duel_ ? duel_->next : confirm_at_);
  if (const auto due = ledger_.first_due(confirmed_)) at = std::min(at, *due);
  return at;
}

}  // namespace oceanid::tunnel
