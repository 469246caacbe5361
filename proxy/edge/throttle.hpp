#pragma once
// The bytes that all tunnels and plain exchanges of a role may pass together, on whichever event
// loop they live.

#include "proxy/core/token_bucket.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace oceanid::proxy {

class Throttle {
 public:
  explicit Throttle(std::uint64_t bits_per_second)
      : bucket_(rate_of(bits_per_second), std::chrono::steady_clock::now()),
        least_(std::max(rate_of(bits_per_second), 1.0)) {}

  void set(std::uint64_t bits_per_second) {
    const std::lock_guard lock(mutex_);
    bucket_.set_rate(rate_of(bits_per_second), std::chrono::steady_clock::now());
    least_ = std::max(rate_of(bits_per_second), 1.0);
  }
  // How many bytes may pass now, at most `wanted`; 0: none, ask again after wait().
  std::size_t take(std::size_t wanted) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(bucket_.take(
        static_cast<double>(wanted), std::min(piece, least_), std::chrono::steady_clock::now()));
  }
  void give_back(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bucket_.give_back(static_cast<double>(bytes));
  }
  // Until a piece is there.
  std::chrono::nanoseconds wait() {
    const std::lock_guard lock(mutex_);
    return std::max<std::chrono::nanoseconds>(
        bucket_.wait_for(piece, std::chrono::steady_clock::now()), std::chrono::milliseconds(1));
  }

 private:
  // What is worth a system call: a tunnel that reads whatever trickles in would spin.
  static constexpr double piece = 4096;
  static double rate_of(std::uint64_t bits) { return static_cast<double>(bits) / 8; }

  std::mutex mutex_;
  TokenBucket bucket_;
  double least_;  // a second's worth, where that is less than a piece
};

}  // namespace oceanid::proxy
