#pragma once
// The chunked transfer coding (RFC 9112 section 7.1), taken off and put on again: what reaches the
// other side is our own framing, so no byte between chunks that two readers could take differently
// passes through. Extensions are dropped, trailers are collected within bounds. Pure; streaming,
// the same result for every split of the input.

#include "proxy/core/request_head.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

class ChunkedReader {
 public:
  enum class State : std::uint8_t { need_more, done, failed };

  struct Step {
    std::size_t consumed = 0;
    std::string_view data;  // content, inside the bytes that were given
  };

  // Takes bytes up to the end of the next piece of content; call again with what is left while
  // something was consumed. Bytes behind the end of the content are not consumed.
  Step take(std::string_view bytes);

  State state() const { return state_; }
  const char* fault() const { return fault_; }  // one sentence; with `failed`
  const std::vector<Field>& trailers() const { return trailers_; }

 private:
  enum class At : std::uint8_t {
    size_start,
    size,
    size_blank,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer,
    trailer_lf
  };
  void step(char c);
  void on_size_line(char c);
  void on_size_digit(char c);
  void on_line_end();
  void on_trailer(char c);
  void finish_trailer_line();
  void fail(const char* why);

  State state_ = State::need_more;
  At at_ = At::size_start;
  std::uint64_t left_ = 0;      // of the chunk
  std::size_t line_bytes_ = 0;  // of a size line with its extensions
  std::size_t digits_ = 0;
  std::string line_;  // of the trailers
  std::size_t trailer_bytes_ = 0;
  std::vector<Field> trailers_;
  const char* fault_ = "";
};

// "SIZE CRLF" in front of a piece of content, "CRLF" behind it.
std::string chunk_head(std::size_t size);
// The end of the content, with those trailers that may be passed on.
std::string last_chunk(const std::vector<Field>& trailers);

}  // namespace oceanid::proxy
