#include "tunnel/core/frame_codec.hpp"

#include <algorithm>

namespace oceanid::tunnel {

void append_frame(std::vector<std::uint8_t>& out, ByteSpan datagram) {
  out.push_back(static_cast<std::uint8_t>(datagram.size() >> 8U));
  out.push_back(static_cast<std::uint8_t>(datagram.size() & 0xffU));
  out.insert(out.end(), datagram.begin(), datagram.end());
}

void FrameDecoder::feed(ByteSpan bytes) {
  input_ = bytes;
}

std::optional<std::size_t> FrameDecoder::wanted(ByteSpan frame) {
  if (frame.size() < frame_header_bytes) return std::nullopt;
  const std::size_t length = (static_cast<std::size_t>(frame[0]) << 8U) | frame[1];
  if (length > max_datagram_bytes) {
    broken_ = true;
    return std::nullopt;
  }
  return frame_header_bytes + length;
}

std::optional<ByteSpan> FrameDecoder::next() {
  if (partial_done_) {
    partial_.clear();
    partial_done_ = false;
  }
  if (broken_) return std::nullopt;
  if (!partial_.empty()) return next_of_partial();
  const auto whole = wanted(input_);
  if (broken_) return std::nullopt;
  if (whole && *whole <= input_.size()) {
    const ByteSpan datagram = input_.subspan(frame_header_bytes, *whole - frame_header_bytes);
    input_ = input_.subspan(*whole);
    return datagram;
  }
  partial_.assign(input_.begin(), input_.end());
  input_ = {};
  return std::nullopt;
}

std::optional<ByteSpan> FrameDecoder::next_of_partial() {
  const auto take = [this](std::size_t upto) {
    const std::size_t missing = upto - std::min(upto, partial_.size());
    const ByteSpan piece = input_.first(std::min(missing, input_.size()));
    partial_.insert(partial_.end(), piece.begin(), piece.end());
    input_ = input_.subspan(piece.size());
  };
  take(frame_header_bytes);
  const auto whole = wanted(partial_);
  if (!whole) return std::nullopt;
  take(*whole);
  if (partial_.size() < *whole) return std::nullopt;
  partial_done_ = true;
  return ByteSpan(partial_).subspan(frame_header_bytes);
}

}  // namespace oceanid::tunnel
