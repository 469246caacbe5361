#pragma once
// What all relays of one event loop share: one scratch buffer, a capped cache of pipes, the live
// byte counters. Idle tunnels own none of it. One thread, except for the counters, which any thread
// may read.

#include "gateway/base/runtime/unique_fd.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace oceanid::proxy {

struct Pipe {
  UniqueFd out;  // read end
  UniqueFd in;   // write end
};

class RelayPool {
 public:
  RelayPool();

  std::span<char> scratch() { return scratch_; }

  // None when `max_pipes` are lent already or the system gives no more: copy instead.
  std::optional<Pipe> borrow_pipe();
  // Only an empty pipe may come back: bytes left in it would reach another tunnel.
  void give_back(Pipe pipe);
  void drop(Pipe pipe);  // one that holds data: closed

  void count_up(std::uint64_t bytes) { add(bytes_up_, bytes); }
  void count_down(std::uint64_t bytes) { add(bytes_down_, bytes); }
  std::uint64_t bytes_up() const { return bytes_up_.load(std::memory_order_relaxed); }
  std::uint64_t bytes_down() const { return bytes_down_.load(std::memory_order_relaxed); }

  std::size_t lent_pipes() const { return lent_; }
  std::size_t cached_pipes() const { return cache_.size(); }
  std::uint64_t starved() const { return starved_; }  // a pipe was wanted and none was left

 private:
  // One writer: a plain load and store is enough and spares the locked instruction.
  static void add(std::atomic<std::uint64_t>& counter, std::uint64_t bytes) {
    counter.store(counter.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  }

  std::vector<char> scratch_;
  std::vector<Pipe> cache_;
  std::size_t lent_ = 0;
  std::uint64_t starved_ = 0;
  std::atomic<std::uint64_t> bytes_up_{0};
  std::atomic<std::uint64_t> bytes_down_{0};
};

}  // namespace oceanid::proxy
