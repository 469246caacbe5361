#pragma once
// The head of an HTTP/1.x response, read as strictly as a request's: an origin that says two things
// at once is answered for with 502, never interpreted. Fed bytes as they come; holds at most
// HeadLimits::bytes. Pure.

#include "proxy/core/request_head.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy {

struct ResponseHead {
  int status = 0;
  std::string reason;  // as received; may be empty
  HttpVersion version = HttpVersion::http11;
  std::vector<Field> fields;
  bool operator==(const ResponseHead&) const = default;
};

class ResponseParser {
 public:
  enum class State : std::uint8_t { need_more, done, failed };

  explicit ResponseParser(HeadLimits limits = {}) : limits_(limits) {}

  // Takes the next bytes. After `done` or `failed` the parser rests: further feeds consume nothing.
  State feed(std::string_view bytes);
  std::size_t consumed_of_last_feed() const { return consumed_; }

  bool started() const { return !text_.empty(); }
  ResponseHead take_head() { return std::move(head_); }
  const char* fault() const { return fault_; }  // one sentence; with `failed`

 private:
  State fail(const char* why);
  bool parse();
  bool parse_status_line(std::string_view line);
  bool parse_field(std::string_view line);

  HeadLimits limits_;
  State state_ = State::need_more;
  std::string text_;
  std::size_t consumed_ = 0;
  const char* fault_ = "";
  ResponseHead head_;
};

}  // namespace oceanid::proxy
