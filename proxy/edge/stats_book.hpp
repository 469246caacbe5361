#pragma once
// One event loop's counters. The loop writes, any thread may ask for a copy; the lock is held for a
// few map operations at the end of a request, never per byte.

#include "proxy/core/answer.hpp"
#include "proxy/core/stats.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace oceanid::proxy {

class StatsBook {
 public:
  void request_ended(Reason reason, const std::string& role);
  void guard_denied(std::string_view range);
  void shed(Reason reason);
  void breaker_opened();
  void dns(std::uint64_t DnsCounts::* what, std::uint64_t times);
  void resolved(std::chrono::nanoseconds took);
  void connected(std::chrono::nanoseconds took);
  void first_byte(std::chrono::nanoseconds took);
  void tunnel_opened(const std::string& forward);  // empty: the proxy's
  void tunnel_closed(const std::string& forward);
  // All probed targets of all forwards, and one of them; true: it answers.
  void forward_targets(std::map<std::pair<std::string, std::string>, bool> states);
  void forward_target(const std::string& forward, const std::string& target, bool answers);

  StatsSnapshot snapshot() const;

 private:
  mutable std::mutex mutex_;
  StatsSnapshot counts_;
};

}  // namespace oceanid::proxy
