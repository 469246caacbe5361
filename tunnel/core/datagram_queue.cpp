#include "tunnel/core/datagram_queue.hpp"

#include <utility>

namespace oceanid::tunnel {
namespace {

constexpr std::size_t most_spare = 1024;
constexpr std::size_t largest_spare = 2048;  // a larger datagram is rare, its memory goes back

}  // namespace

void DatagramQueue::drop_front() {
  Entry& entry = waiting_.front();
  bytes_ -= entry.datagram.size();
  if (spare_.size() < most_spare && entry.datagram.capacity() <= largest_spare)
    spare_.push_back(std::move(entry.datagram));
  waiting_.pop_front();
}

void DatagramQueue::push(ByteSpan datagram, Time now) {
  if (datagram.size() > max_datagram_bytes || datagram.size() > limits_.bytes) {
    ++dropped_full_;
    return;
  }
  while (bytes_ + datagram.size() > limits_.bytes) {
    drop_front();
    ++dropped_full_;
  }
  Entry& entry = waiting_.emplace_back();
  entry.since = now;
  if (!spare_.empty()) {
    entry.datagram = std::move(spare_.back());
    spare_.pop_back();
  }
  entry.datagram.assign(datagram.begin(), datagram.end());
  bytes_ += datagram.size();
}

bool DatagramQueue::fill(std::vector<std::uint8_t>& record, Time now) {
  while (!waiting_.empty() && now - waiting_.front().since > limits_.patience) {
    drop_front();
    ++dropped_late_;
  }
  record.clear();
  while (!waiting_.empty()) {
    const std::vector<std::uint8_t>& next = waiting_.front().datagram;
    if (!record.empty() && record.size() + frame_header_bytes + next.size() > limits_.record_bytes)
      break;
    append_frame(record, next);
    drop_front();
  }
  return !record.empty();
}

void DatagramQueue::clear() {
  while (!waiting_.empty())
    drop_front();
}

}  // namespace oceanid::tunnel
