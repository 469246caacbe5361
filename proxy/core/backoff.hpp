#pragma once
// How long to wait before the next try: decorrelated jitter, so that clients that failed together
// do not come back together. Pure: the random bits are an argument.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace oceanid::proxy {

class Backoff {
 public:
  using Duration = std::chrono::milliseconds;
  Backoff(Duration base, Duration cap) : base_(base), cap_(cap), last_(base) {}

  // Between the base and three times the last wait, at most the cap.
  Duration next(std::uint64_t random) {
    const auto span = static_cast<std::uint64_t>((last_ * 3 - base_).count()) + 1;
    last_ = std::min(cap_, base_ + Duration(static_cast<std::int64_t>(random % span)));
    return last_;
  }

 private:
  Duration base_;
  Duration cap_;
  Duration last_;
};

}  // namespace oceanid::proxy
