#include "proxy/core/request_content.hpp"

#include <algorithm>

namespace oceanid::proxy {

RequestContent::RequestContent(const RequestHead& head)
    : framing_(framing_of(head)),
      left_(framing_.length),
      whole_(framing_.content == Content::none) {}

std::size_t RequestContent::take(std::string_view bytes, std::string& out) {
  if (whole_) return 0;
  if (framing_.content == Content::chunked) return take_chunks(bytes, out);
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
  out += bytes.substr(0, size);
  left_ -= size;
  whole_ = left_ == 0;
  return size;
}

std::size_t RequestContent::take_chunks(std::string_view bytes, std::string& out) {
  std::size_t consumed = 0;
  while (consumed < bytes.size() && chunks_.state() == ChunkedReader::State::need_more) {
    const auto step = chunks_.take(bytes.substr(consumed));
    consumed += step.consumed;
    if (!step.data.empty())
      out.append(chunk_head(step.data.size())).append(step.data).append("\r\n");
  }
  whole_ = chunks_.state() == ChunkedReader::State::done;
  if (whole_) out += last_chunk(chunks_.trailers());
  return consumed;
}

}  // namespace oceanid::proxy
