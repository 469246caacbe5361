#include "tunnel/core/probe_ledger.hpp"

#include <algorithm>
#include <cmath>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_open = 1024;
constexpr auto remembered = 10s;  // later answers are no news
constexpr ProbeLedger::Duration first_patience = 500ms;
constexpr ProbeLedger::Duration least_patience = 120ms;
constexpr ProbeLedger::Duration most_patience = 1s;
constexpr double memory = 0.99;     // about the last hundred probes
constexpr double prior_weight = 4;  // a young path is taken for a good one
constexpr double least_loss = 0.02;
constexpr double most_loss = 0.45;
constexpr unsigned least_probes = 3;  // MAX_PROBES of RFC 8899 section 5.1.2
constexpr unsigned most_probes = 24;

}  // namespace

std::uint64_t ProbeLedger::sent(unsigned size, Time now) {
  if (open_.size() >= most_open) open_.pop_front();
  open_.push_back({++last_id_, size, now, false});
  return last_id_;
}

std::optional<ProbeLedger::Delivered> ProbeLedger::acknowledged(std::uint64_t id, Time now) {
  const auto probe = withdrawn(id);
  if (!probe) return std::nullopt;
  const Duration sample = now - probe->sent;
  if (smoothed_) {
    variation_ = (3 * variation_ + std::chrono::abs(*smoothed_ - sample)) / 4;
    *smoothed_ += (sample - *smoothed_) / 8;
  } else {
    smoothed_ = sample;
    variation_ = sample / 2;
  }
  count(false);
  // What is not larger and was sent before did not get lost for its size.
  std::erase_if(open_, [&](const Open& open) {
    const bool ordinary = open.overdue && open.size <= probe->size && open.sent <= probe->sent;
    if (ordinary) count(true);
    return ordinary;
  });
  return probe;
}

std::optional<ProbeLedger::Delivered> ProbeLedger::withdrawn(std::uint64_t id) {
  const auto at = std::ranges::find(open_, id, &Open::id);
  if (at == open_.end()) return std::nullopt;
  const Delivered probe{at->size, at->sent};
  open_.erase(at);
  return probe;
}

void ProbeLedger::expire(Time now) {
  while (!open_.empty() && now - open_.front().sent >= remembered)
    open_.pop_front();
  for (Open& open : open_)
    if (now - open.sent >= patience()) open.overdue = true;
}

std::optional<unsigned> ProbeLedger::size_of(std::uint64_t id) const {
  const auto at = std::ranges::find(open_, id, &Open::id);
  return at == open_.end() ? std::nullopt : std::optional(at->size);
}

void ProbeLedger::give_up(std::uint64_t id) {
  const auto at = std::ranges::find(open_, id, &Open::id);
  if (at != open_.end()) at->overdue = true;
}

std::size_t ProbeLedger::missing(unsigned size, Time from) const {
  return missing_since(size, from).size();
}

std::vector<ProbeLedger::Time> ProbeLedger::missing_since(unsigned size, Time from) const {
  std::vector<Time> out;
  for (const Open& open : open_)
    if (open.overdue && open.size == size && open.sent >= from) out.push_back(open.sent);
  return out;
}

std::optional<ProbeLedger::Time> ProbeLedger::first_due(unsigned size) const {
  for (const Open& open : open_)
    if (!open.overdue && open.size == size) return open.sent + patience();
  return std::nullopt;
}

ProbeLedger::Duration ProbeLedger::patience() const {
  if (!smoothed_) return first_patience;
  return std::clamp<Duration>(*smoothed_ + 4 * variation_ + 20ms, least_patience, most_patience);
}

void ProbeLedger::count(bool lost) {
  counted_ = counted_ * memory + 1;
  lost_ = lost_ * memory + (lost ? 1 : 0);
}

double ProbeLedger::loss() const {
  return std::clamp(lost_ / (counted_ + prior_weight), least_loss, most_loss);
}

unsigned ProbeLedger::enough(double chance) const {
  // A share that was counted on a hundred probes is uncertain: two standard deviations above it.
  const double above = (lost_ + 2 * std::sqrt(lost_) + 1) / (counted_ + prior_weight);
  const double share = std::clamp(above, least_loss, most_loss);
  const double probes = std::ceil(std::log(chance) / std::log(share));
  return std::clamp(static_cast<unsigned>(probes), least_probes, most_probes);
}

}  // namespace oceanid::tunnel
