#pragma once
// The circuit breakers of a process: clients are spread over its event loops by the kernel, and
// what one of them learns about a destination holds for all. Any thread; the lock is taken twice in
// a request's life.

#include "proxy/core/breaker.hpp"

#include <mutex>
#include <string>

namespace oceanid::proxy {

class BreakerBook {
 public:
  Breakers::Answer ask(const std::string& destination, Breakers::Time now) {
    const std::lock_guard lock(mutex_);
    return breakers_.ask(destination, now);
  }
  void succeeded(const std::string& destination) {
    const std::lock_guard lock(mutex_);
    breakers_.succeeded(destination);
  }
  bool failed(const std::string& destination, const BreakerSettings& settings, Breakers::Time now) {
    const std::lock_guard lock(mutex_);
    return breakers_.failed(destination, settings, now);
  }
  void abandoned(const std::string& destination) {
    const std::lock_guard lock(mutex_);
    breakers_.abandoned(destination);
  }
  std::size_t open() const {
    const std::lock_guard lock(mutex_);
    return breakers_.open();
  }

 private:
  mutable std::mutex mutex_;
  Breakers breakers_;
};

}  // namespace oceanid::proxy
