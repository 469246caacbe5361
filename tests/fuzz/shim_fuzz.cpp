// The shim's parsers on a stranger's bytes: frames, hello, probe, and a proxy's answer. What must
// hold: however the stream is cut, the same datagrams come out; what is held is bounded; what was
// understood, written again, is the same bytes.
//
// Input: byte 0 picks the cut, the rest is the stream.
#include "tunnel/core/connect_answer.hpp"
#include "tunnel/core/frame_codec.hpp"
#include "tunnel/core/transport_hello.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using namespace oceanid::tunnel;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  std::vector<std::vector<std::uint8_t>> datagrams;
  bool broken = false;
  bool operator==(const Outcome&) const = default;
};

Outcome decode(ByteSpan bytes, std::size_t step) {
  FrameDecoder decoder;
  Outcome out;
  while (!bytes.empty()) {
    const ByteSpan piece = bytes.first(std::min(step, bytes.size()));
    bytes = bytes.subspan(piece.size());
    decoder.feed(piece);
    while (const auto datagram = decoder.next())
      out.datagrams.emplace_back(datagram->begin(), datagram->end());
    require(decoder.held() <= frame_header_bytes + max_datagram_bytes);
  }
  out.broken = decoder.broken();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteSpan stream(data + 1, size - 1);
  const Outcome whole = decode(stream, stream.size() + 1);
  require(decode(stream, 1U + data[0]) == whole);
  std::vector<std::uint8_t> again;
  for (const auto& datagram : whole.datagrams)
    append_frame(again, datagram);
  require(again.size() <= stream.size() && std::equal(again.begin(), again.end(), stream.begin()));

  if (const auto hello = decode_hello(stream)) require(std::ranges::equal(encode(*hello), stream));
  if (const auto probe = decode_reach(stream)) require(decode_reach(encode(*probe)) == probe);

  const std::string_view text(reinterpret_cast<const char*>(stream.data()), stream.size());
  ConnectAnswer at_once;
  const auto state = at_once.feed(text);
  require(at_once.taken() <= text.size());
  ConnectAnswer in_pieces;
  auto last = ConnectAnswer::State::need_more;
  for (std::size_t at = 0; at < text.size() && last == ConnectAnswer::State::need_more; ++at)
    last = in_pieces.feed(text.substr(at, 1));
  require(last == state && in_pieces.status() == at_once.status());
  return 0;
}
