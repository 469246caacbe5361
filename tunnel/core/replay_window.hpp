#pragma once
// Which of a sender's numbers have been seen: the sliding window of RFC 6479, 64 wide.

#include <cstdint>

namespace oceanid::tunnel {

class ReplayWindow {
 public:
  // True once for each number; false for those that are too old to tell.
  bool accept(std::uint64_t number) {
    if (number == 0) return false;
    if (number > newest_) {
      const std::uint64_t ahead = number - newest_;
      seen_ = ahead >= width ? 1 : (seen_ << ahead) | 1U;
      newest_ = number;
      return true;
    }
    const std::uint64_t behind = newest_ - number;
    if (behind >= width) return false;
    const std::uint64_t bit = std::uint64_t{1} << behind;
    if ((seen_ & bit) != 0) return false;
    seen_ |= bit;
    return true;
  }

 private:
  static constexpr std::uint64_t width = 64;
  std::uint64_t newest_ = 0;
  std::uint64_t seen_ = 0;
};

}  // namespace oceanid::tunnel
