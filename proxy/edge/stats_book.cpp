#include "proxy/edge/stats_book.hpp"

namespace oceanid::proxy {
namespace {

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void StatsBook::request_ended(Reason reason, const std::string& role) {
  const std::lock_guard lock(mutex_);
  ++counts_.requests[{std::string(to_string(reason)), role}];
}

void StatsBook::guard_denied(std::string_view range) {
  const std::lock_guard lock(mutex_);
  ++counts_.guard_denied[std::string(range)];
}

void StatsBook::shed(Reason reason) {
  const std::lock_guard lock(mutex_);
  ++counts_.shed[std::string(to_string(reason))];
}

void StatsBook::breaker_opened() {
  const std::lock_guard lock(mutex_);
  ++counts_.breakers_opened;
}

void StatsBook::dns(std::uint64_t DnsCounts::* what, std::uint64_t times) {
  const std::lock_guard lock(mutex_);
  counts_.dns.*what += times;
}

void StatsBook::resolved(std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  counts_.dns_seconds.observe(seconds(took));
}

void StatsBook::connected(std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  counts_.connect_seconds.observe(seconds(took));
}

void StatsBook::first_byte(std::chrono::nanoseconds took) {
  const std::lock_guard lock(mutex_);
  counts_.first_byte_seconds.observe(seconds(took));
}

void StatsBook::tunnel_opened(const std::string& forward) {
  const std::lock_guard lock(mutex_);
  ++(forward.empty() ? counts_.tunnels_open : counts_.forward_open[forward]);
}

void StatsBook::tunnel_closed(const std::string& forward) {
  const std::lock_guard lock(mutex_);
  --(forward.empty() ? counts_.tunnels_open : counts_.forward_open[forward]);
}

void StatsBook::forward_targets(std::map<std::pair<std::string, std::string>, bool> states) {
  const std::lock_guard lock(mutex_);
  counts_.forward_targets = std::move(states);
}

void StatsBook::forward_target(const std::string& forward, const std::string& target,
                               bool answers) {
  const std::lock_guard lock(mutex_);
  counts_.forward_targets[{forward, target}] = answers;
}

StatsSnapshot StatsBook::snapshot() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace oceanid::proxy
