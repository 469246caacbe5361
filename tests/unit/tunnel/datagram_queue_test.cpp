#include "tunnel/core/datagram_queue.hpp"

#include <random>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> frames_in(const Bytes& record) {
  FrameDecoder decoder;
  decoder.feed(record);
  std::vector<Bytes> out;
  while (const auto datagram = decoder.next())
    out.emplace_back(datagram->begin(), datagram->end());
  return out;
}

class Queue : public ::testing::Test {
 protected:
  std::size_t filled() {
    Bytes record;
    queue_.fill(record, now_);
    return frames_in(record).size();
  }
  DatagramQueue queue_;
  DatagramQueue::Time now_{1h};
};

TEST_F(Queue, GivesWhatIsWaitingInOneRecordInOrder) {
  for (std::uint8_t i = 0; i < 5; ++i)
    queue_.push(Bytes(100, i), now_);
  Bytes record;
  ASSERT_TRUE(queue_.fill(record, now_));
  const auto frames = frames_in(record);
  ASSERT_EQ(frames.size(), 5U);
  for (std::uint8_t i = 0; i < 5; ++i)
    EXPECT_EQ(frames[i], Bytes(100, i));
  EXPECT_FALSE(queue_.fill(record, now_));
  EXPECT_TRUE(record.empty());
}

TEST_F(Queue, FillsNoMoreThanARecordUnlessOneDatagramIsLarger) {
  for (int i = 0; i < 20; ++i)
    queue_.push(Bytes(1440), now_);
  EXPECT_EQ(filled(), (16U << 10U) / 1442U);
  queue_.clear();
  queue_.push(Bytes(40000), now_);
  queue_.push(Bytes(10), now_);
  EXPECT_EQ(filled(), 1U);
  EXPECT_EQ(filled(), 1U);
}

TEST_F(Queue, LosesTheOldestWhenTheyHaveWaitedTooLong) {
  queue_.push(Bytes(10, 1), now_);
  now_ += 30ms;
  queue_.push(Bytes(10, 2), now_);
  now_ += 20ms;
  EXPECT_EQ(filled(), 2U) << "50 ms are not more than 50 ms";
  queue_.push(Bytes(10, 1), now_);
  now_ += 30ms;
  queue_.push(Bytes(10, 2), now_);
  now_ += 21ms;
  Bytes record;
  ASSERT_TRUE(queue_.fill(record, now_));
  EXPECT_EQ(frames_in(record), std::vector<Bytes>{Bytes(10, 2)});
  EXPECT_EQ(queue_.dropped_late(), 1U);
}

TEST_F(Queue, LosesTheOldestWhenItIsFull) {
  DatagramQueue queue({.bytes = 1000});
  for (std::uint8_t i = 0; i < 12; ++i)
    queue.push(Bytes(100, i), now_);
  EXPECT_EQ(queue.dropped_full(), 2U);
  Bytes record;
  ASSERT_TRUE(queue.fill(record, now_));
  EXPECT_EQ(frames_in(record).front(), Bytes(100, 2));
  queue.push(Bytes(1001), now_);
  EXPECT_TRUE(queue.empty()) << "larger than the queue";
}

// Whatever comes and goes: no datagram leaves later than its patience, none twice, all in order,
// and the books agree.
TEST_F(Queue, HoldsItsPromisesUnderRandomLoad) {
  std::mt19937 random(11);
  DatagramQueue queue({.patience = 50ms, .bytes = 100'000});
  std::uint32_t pushed = 0;
  std::uint64_t got = 0;
  std::int64_t last = -1;
  std::vector<DatagramQueue::Time> since;
  for (int step = 0; step < 20000; ++step) {
    now_ += std::chrono::microseconds(random() % 8000);
    for (auto burst = random() % 12; burst > 0; --burst) {
      Bytes datagram(4 + random() % 1400);
      for (unsigned i = 0; i < 4; ++i)
        datagram[i] = static_cast<std::uint8_t>(pushed >> (8U * i));
      queue.push(datagram, now_);
      since.push_back(now_);
      ++pushed;
    }
    ASSERT_LE(queue.bytes(), 100'000U);
    if (random() % 3 != 0) continue;
    Bytes record;
    queue.fill(record, now_);
    ASSERT_LE(record.size(), 16U << 10U);
    for (const Bytes& frame : frames_in(record)) {
      const std::int64_t number = frame[0] + (frame[1] << 8) + (frame[2] << 16) + (frame[3] << 24);
      ASSERT_GT(number, last);
      last = number;
      ASSERT_LE(now_ - since[static_cast<std::size_t>(number)], 50ms);
      ++got;
    }
  }
  while (!queue.empty()) {
    Bytes record;
    queue.fill(record, now_);
    got += frames_in(record).size();
  }
  EXPECT_EQ(pushed, got + queue.dropped_late() + queue.dropped_full());
  EXPECT_GT(queue.dropped_late(), 0U);
  EXPECT_EQ(queue.bytes(), 0U);
}

}  // namespace
}  // namespace oceanid::tunnel
