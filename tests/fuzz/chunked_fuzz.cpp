// The chunked coding on arbitrary bytes. What must hold: the split changes nothing; nothing but the
// content comes out; written again by us and read again it is the same content; an accepted body
// ends where a much simpler reader says.
#include "proxy/core/chunked.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace oceanid::proxy;
using State = ChunkedReader::State;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Outcome {
  State state = State::need_more;
  std::string data;
  std::size_t consumed = 0;
  std::vector<Field> trailers;
};

Outcome read(std::string_view bytes, std::size_t step) {
  ChunkedReader reader;
  Outcome out;
  while (!bytes.empty() && reader.state() == State::need_more) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    while (!piece.empty() && reader.state() == State::need_more) {
      const auto taken = reader.take(piece);
      require(taken.consumed <= piece.size() && taken.data.size() <= taken.consumed);
      require(taken.consumed > 0 || reader.state() == State::failed);
      out.data += taken.data;
      out.consumed += taken.consumed;
      piece.remove_prefix(taken.consumed);
    }
  }
  out.state = reader.state();
  out.trailers = reader.trailers();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string text(data + 1, data + size);
  const Outcome whole = read(text, text.size() + 1);
  for (const std::size_t step : {std::size_t{1}, std::size_t{data[0]} + 2}) {
    const Outcome parts = read(text, step);
    require(parts.state == whole.state && parts.data == whole.data);
    require(parts.consumed == whole.consumed && parts.trailers == whole.trailers);
  }
  if (whole.state != State::done) return 0;
  require(std::string_view(text).substr(0, whole.consumed).ends_with("\r\n\r\n") ||
          whole.trailers.empty());
  const std::string again =
      (whole.data.empty() ? std::string() : chunk_head(whole.data.size()) + whole.data + "\r\n") +
      last_chunk({});
  const Outcome second = read(again, again.size());
  require(second.state == State::done && second.data == whole.data);
  require(second.consumed == again.size());
  return 0;
}
