#pragma once
// Circuit breakers, one for each destination that fails: closed (nothing is kept about it but the
// failures in a row), open (left alone until a moment), half-open (one request probes, the others
// wait their turn). Pure: the time is an argument. Bounded: of `capacity` destinations that have
// failed, the one that was heard of longest ago gives way. One thread.

#include "proxy/core/lru.hpp"
#include "proxy/core/settings.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace oceanid::proxy {

class Breakers {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit Breakers(std::size_t capacity = 4096) : circuits_(capacity) {}

  struct Answer {
    bool allowed = true;
    bool probe = false;                       // this request decides whether the circuit closes
    std::chrono::milliseconds retry_after{};  // when not allowed: until the next probe
  };
  // Every probe is followed by exactly one of succeeded(), failed() and abandoned().
  Answer ask(const std::string& destination, Time now);
  void succeeded(const std::string& destination);
  // True when this failure has opened the circuit (again).
  bool failed(const std::string& destination, const BreakerSettings& settings, Time now);
  // The probe ended without a word about the destination (its client left, no exit was usable).
  void abandoned(const std::string& destination);

  std::size_t open() const { return open_; }  // open or half-open
  std::size_t known() const { return circuits_.size(); }

 private:
  struct Circuit {
    std::uint32_t failures = 0;  // in a row
    bool open = false;
    bool probing = false;
    std::chrono::milliseconds rest{};  // how long it is left alone this time
    Time until;                        // open: when the next probe may go
  };
  Lru<std::string, Circuit> circuits_;
  std::size_t open_ = 0;
};

}  // namespace oceanid::proxy
