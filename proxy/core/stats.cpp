#include "proxy/core/stats.hpp"

#include <algorithm>
#include <numeric>

namespace oceanid::proxy {
namespace {

template <typename Key>
void merge(std::map<Key, std::uint64_t>& into, const std::map<Key, std::uint64_t>& from) {
  for (const auto& [key, value] : from)
    into[key] += value;
}

}  // namespace

void Histogram::observe(double seconds) {
  // lower_bound: a value that equals a bound belongs below it (Prometheus' `le` is inclusive).
  const auto bucket = std::ranges::lower_bound(bounds, seconds) - bounds.begin();
  ++counts_[static_cast<std::size_t>(bucket)];
  sum_ += seconds;
}

std::uint64_t Histogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

Histogram& Histogram::operator+=(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i)
    counts_[i] += other.counts_[i];
  sum_ += other.sum_;
  return *this;
}

DnsCounts& DnsCounts::operator+=(const DnsCounts& other) {
  for (const auto member :
       {&DnsCounts::hit, &DnsCounts::negative, &DnsCounts::stale, &DnsCounts::miss,
        &DnsCounts::hosts, &DnsCounts::prefetch, &DnsCounts::entries})
    this->*member += other.*member;
  return *this;
}

StatsSnapshot& StatsSnapshot::operator+=(const StatsSnapshot& other) {
  merge(requests, other.requests);
  tunnels_open += other.tunnels_open;
  bytes_up += other.bytes_up;
  bytes_down += other.bytes_down;
  merge(guard_denied, other.guard_denied);
  merge(shed, other.shed);
  breakers_open = std::max(breakers_open, other.breakers_open);  // one book for all loops
  breakers_opened += other.breakers_opened;
  merge(forward_open, other.forward_open);
  for (const auto& [key, answers] : other.forward_targets) {
    const auto [place, fresh] = forward_targets.emplace(key, answers);
    if (!fresh) place->second = place->second && answers;
  }
  dns += other.dns;
  dns_seconds += other.dns_seconds;
  connect_seconds += other.connect_seconds;
  first_byte_seconds += other.first_byte_seconds;
  return *this;
}

}  // namespace oceanid::proxy
