#include "routing/edge/drift_watch.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;
constexpr std::size_t most_signs = 1024;

}  // namespace

DriftWatch::DriftWatch(const asio::any_io_executor& executor, LinuxKernel& kernel,
                       Reconciler& reconciler, Events events,
                       std::chrono::milliseconds lost_interval)
    : kernel_(kernel),
      reconciler_(reconciler),
      events_(std::move(events)),
      lost_interval_(lost_interval) {
  const auto missing = [](const Error& error) {
    log::warn("routing", "changes by others are noticed only by an audit every few seconds",
              {{"error", error.what}});
  };
  auto facts = FactsWatcher::start(
      executor, [this](const FactsChange& change) { on_facts(change); }, kernel_.port_id());
  if (facts)
    facts_ = std::move(*facts);
  else
    missing(facts.error());
  auto nft = NftWatcher::start(executor,
                               {.touched = [this](const NftCommit& commit) { on_nft(commit); },
                                .lost = [this] { on_nft_lost(); }},
                               kernel_.netfilter_ports());
  if (!nft) {
    missing(nft.error());
    return;
  }
  nft_ = std::move(*nft);
  kernel_.set_on_nft_child([this](std::uint32_t pid) { nft_->child_started(pid); });
}

DriftWatch::~DriftWatch() {
  kernel_.set_on_nft_child({});
}

void DriftWatch::expect(const NetworkState& desired, const HostFacts& host) {
  if (!facts_) return;
  OwnObjects own;
  for (const Route& route : desired.routes)
    own.tables.insert(route.table);
  for (const LinkState& link : desired.links) {
    own.links.insert(link.name.str());
    if (const LinkFacts* found = find_link(host, link.name))
      own.indexes[found->index] = link.name.str();
  }
  facts_->set_own(std::move(own));
}

void DriftWatch::on_facts(const FactsChange& change) {
  for (const Sign& sign : change.signs)
    add(sign);
  if (!change.signs.empty()) schedule();
  if (change.host()) events_.host_changed(change);
}

void DriftWatch::on_nft(const NftCommit& commit) {
  reconciler_.distrust_nft();
  add(Sign{DriftKind::nft, {}, commit.culprit, describe(commit.touches), DriftClock::now()});
  schedule();
}

// The stamp of the tables is looked at in any case. It says nothing of elements, so that what was
// lost during the pause is still to be distrusted when it is over.
void DriftWatch::on_nft_lost() {
  const auto now = DriftClock::now();
  if (distrusted_at_ && now - *distrusted_at_ < lost_interval_) {
    distrust_at_ = *distrusted_at_ + lost_interval_;
  } else {
    distrusted_at_ = now;
    reconciler_.distrust_nft();
  }
  schedule();
}

std::optional<DriftClock::time_point> DriftWatch::repair_at() const {
  if (!repair_at_ || !distrust_at_) return repair_at_ ? repair_at_ : distrust_at_;
  return std::min(*repair_at_, *distrust_at_);
}

void DriftWatch::add(Sign sign) {
  if (signs_.size() < most_signs) signs_.push_back(std::move(sign));
}

void DriftWatch::schedule() {
  if (repair_at_) return;
  repair_at_ = pacer_.next(DriftClock::now());
  events_.repair_due();
}

void DriftWatch::begin_repair() {
  repair_at_.reset();
  if (const auto now = DriftClock::now(); distrust_at_ && *distrust_at_ <= now) {
    distrust_at_.reset();
    distrusted_at_ = now;
    reconciler_.distrust_nft();
  }
  if (at_work_.size() >= most_signs) at_work_.clear();  // of repairs that never came to an end
  at_work_.insert(at_work_.end(), std::make_move_iterator(signs_.begin()),
                  std::make_move_iterator(signs_.end()));
  signs_.clear();
}

void DriftWatch::failed() {
  at_work_.insert(at_work_.end(), signs_.begin(), signs_.end());
  signs_ = std::exchange(at_work_, {});
}

std::vector<std::string> DriftWatch::repaired(const std::vector<Drift>& drift) {
  const auto now = DriftClock::now();
  // Notices of what was repaired may still be unread when the repair began.
  std::vector<Sign> signs = std::exchange(at_work_, {});
  signs.insert(signs.end(), signs_.begin(), signs_.end());
  std::vector<std::string> out;
  if (drift.empty()) {
    static_cast<void>(pacer_.fighting(now));
    return out;
  }
  pacer_.repaired(now);
  for (const Incident& incident : incidents(drift, signs)) {
    counts_.count(incident);
    if (!incident.since) {
      out.push_back(
          fmt::format("{} {}; repaired by an audit", to_string(incident.culprit), incident.what));
      continue;
    }
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(now - *incident.since);
    last_repair_seconds_ = std::chrono::duration<double>(took).count();
    out.push_back(describe(incident, took));
    if (auto fight = note_fight(to_string(incident.culprit), now)) out.push_back(std::move(*fight));
  }
  return out;
}

std::optional<std::string> DriftWatch::note_fight(const std::string& culprit,
                                                  DriftClock::time_point now) {
  if (!pacer_.fighting(now)) {
    fight_.clear();
    return std::nullopt;
  }
  const bool is_news = fight_.empty();
  fight_ = fmt::format(
      "{} and oceanid undo each other's work: {} repairs within a minute; the next ones wait up to "
      "{} s",
      culprit, pacer_.recent(),
      std::chrono::duration_cast<std::chrono::seconds>(RepairPacer::longest_pause).count());
  return is_news ? std::optional(fight_) : std::nullopt;
}

DriftWatch::Summary DriftWatch::summary() {
  if (!pacer_.fighting(DriftClock::now())) fight_.clear();
  return {counts_, last_repair_seconds_, fight_, listens()};
}

awaitable<void> DriftWatch::stop() {
  if (facts_) co_await facts_->stop();
  if (nft_) co_await nft_->stop();
}

}  // namespace oceanid::routing
