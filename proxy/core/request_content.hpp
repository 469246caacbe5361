#pragma once
// The content behind a plain request's head, taken from the client as it is to be sent on: chunks
// are put on anew (see chunked.hpp). It knows where the next request begins, whoever asks: the
// exchange that forwards it, or the session that throws away what nobody wants. Pure.

#include "proxy/core/chunked.hpp"
#include "proxy/core/message_framing.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace oceanid::proxy {

class RequestContent {
 public:
  RequestContent() = default;  // of a request without content
  explicit RequestContent(const RequestHead& head);

  // How many of the bytes belong to it; they are appended to `out`. Less than all: it is whole, or
  // it is broken.
  std::size_t take(std::string_view bytes, std::string& out);

  const Framing& framing() const { return framing_; }
  bool whole() const { return whole_; }
  bool broken() const { return chunks_.state() == ChunkedReader::State::failed; }
  const char* fault() const { return chunks_.fault(); }  // one sentence; when broken
  // What is still to come, as far as that is known.
  std::uint64_t known_rest() const { return left_; }

 private:
  std::size_t take_chunks(std::string_view bytes, std::string& out);

  Framing framing_;
  std::uint64_t left_ = 0;
  ChunkedReader chunks_;
  bool whole_ = true;
};

}  // namespace oceanid::proxy
