#pragma once
// Datagrams in a stream of bytes: a length of two bytes, big-endian, then the datagram, as
// udp-over-tcp frames them. A frame of length zero carries nothing: it says that the sender lives.
// Decoding is incremental and holds at most one datagram; what is longer than any UDP payload ends
// the stream, because nobody could tell where the next frame begins. Pure; one owner.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace oceanid::tunnel {

inline constexpr std::size_t frame_header_bytes = 2;
inline constexpr std::size_t max_datagram_bytes = 65507;  // 65535 less IPv4's and UDP's headers

using ByteSpan = std::span<const std::uint8_t>;

// `datagram` is at most max_datagram_bytes long.
void append_frame(std::vector<std::uint8_t>& out, ByteSpan datagram);

class FrameDecoder {
 public:
  // The bytes must stay where they are until next() has returned nothing.
  void feed(ByteSpan bytes);
  // The next whole datagram, valid until the next call; none: more bytes are needed, or broken().
  std::optional<ByteSpan> next();
  bool broken() const { return broken_; }
  std::size_t held() const { return partial_.size(); }  // of a frame that is not whole yet

 private:
  std::optional<ByteSpan> next_of_partial();
  std::optional<std::size_t> wanted(ByteSpan frame);  // whole length of the frame that begins here

  ByteSpan input_;
  std::vector<std::uint8_t> partial_;
  bool partial_done_ = false;  // handed out; to be dropped at the next call
  bool broken_ = false;
};

}  // namespace oceanid::tunnel
