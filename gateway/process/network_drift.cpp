// How the network's keeper hears of changes by others, and what it says about them.

#include "gateway/process/network.hpp"

#include <algorithm>
#include <chrono>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
// Under the events, should one be lost; alone where there are none (no permission to listen).
constexpr auto slow_audit = 60s;
constexpr auto audit_alone = 2s;

}  // namespace

void Network::start_watch() {
  watch_ = std::make_unique<routing::DriftWatch>(
      io_.get_executor(), *kernel_, *reconciler_,
      routing::DriftWatch::Events{
          .host_changed = [this](const routing::FactsChange&) { on_host_change(); },
          .repair_due = [this] { wake_.cancel(); }});
}

void Network::on_host_change() {
  if (tunnels_) tunnels_->poke();
  mark_due();
}

std::chrono::steady_clock::time_point Network::next_look() const {
  // That the last connection of a draining exit has ended is looked for, too.
  const bool slow = watch_ && watch_->listens() && !draining_ && !offload_held_;
  const auto now = std::chrono::steady_clock::now();
  auto until = now + (slow ? slow_audit : audit_alone);
  if (const auto next = selector_.next_decision()) until = std::min(until, *next);
  if (const auto end = taking_over_.end(now)) until = std::min(until, *end);
  // What was due and did not come waits for other news, such as the end of a suspicion.
  if (const auto next = board_.next_change(); next && *next > now) until = std::min(until, *next);
  if (watch_ && watch_->repair_at()) until = std::min(until, *watch_->repair_at());
  return until;
}

bool Network::repair_is_due() const {
  return watch_ && watch_->repair_at() && *watch_->repair_at() <= std::chrono::steady_clock::now();
}

void Network::note_drift(const std::vector<routing::Drift>& drift) {
  if (!watch_) return;
  for (const std::string& text : watch_->repaired(drift))
    events_.event("routing", text);
}

void Network::describe_drift() {
  if (!watch_) return;
  const auto summary = watch_->summary();
  routing_view_.watched = summary.events;
  routing_view_.last_drift_repair_seconds = summary.last_repair_seconds;
  routing_view_.fight = summary.fight;
  routing_view_.drift.clear();
  for (const auto& [key, count] : summary.counts.all())
    routing_view_.drift.push_back({std::string(to_string(key.first)), key.second, count});
}

}  // namespace oceanid::process
