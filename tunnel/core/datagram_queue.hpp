#pragma once
// What waits for a TCP connection to take it. A datagram may be lost, never delayed for seconds:
// the oldest ones are dropped when they have waited longer than `patience`, or when the queue is
// full. What leaves, leaves as frames in one buffer as large as a TLS record, since each record
// costs 22 bytes on the wire and a pass through the cipher. Time comes in as an argument. Pure; one
// owner, bounded memory; buffers are used again.

#include "tunnel/core/frame_codec.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace oceanid::tunnel {

class DatagramQueue {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Limits {
    std::chrono::nanoseconds patience = std::chrono::milliseconds(50);
    std::size_t bytes = 1U << 20U;          // of datagrams, all together
    std::size_t record_bytes = 16U << 10U;  // RFC 8446 section 5.1
  };

  explicit DatagramQueue(Limits limits) : limits_(limits) {}
  DatagramQueue() : DatagramQueue(Limits()) {}

  void push(ByteSpan datagram, Time now);
  // Drops what has waited too long, then appends as many frames to the empty `record` as fit; one
  // datagram that is larger than a record goes alone. False: there was nothing to send.
  bool fill(std::vector<std::uint8_t>& record, Time now);
  void clear();

  bool empty() const { return waiting_.empty(); }
  std::size_t bytes() const { return bytes_; }
  std::uint64_t dropped_late() const { return dropped_late_; }
  std::uint64_t dropped_full() const { return dropped_full_; }

 private:
  struct Entry {
    Time since;
    std::vector<std::uint8_t> datagram;
  };
  void drop_front();

  Limits limits_;
  std::deque<Entry> waiting_;
  std::vector<std::vector<std::uint8_t>> spare_;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_late_ = 0;
  std::uint64_t dropped_full_ = 0;
};

}  // namespace oceanid::tunnel
