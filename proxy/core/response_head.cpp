#include "proxy/core/response_head.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>

namespace oceanid::proxy {

ResponseParser::State ResponseParser::fail(const char* why) {
  fault_ = why;
  state_ = State::failed;
  return state_;
}

ResponseParser::State ResponseParser::feed(std::string_view bytes) {
  consumed_ = 0;
  if (state_ != State::need_more) return state_;
  constexpr std::string_view end = "\r\n\r\n";
  const std::size_t before = text_.size();
  const std::size_t room = limits_.bytes - before;
  text_ += bytes.substr(0, room);
  // The end may straddle two feeds.
  const std::size_t from = before < end.size() ? 0 : before - (end.size() - 1);
  const auto at = text_.find(end, from);
  if (at == std::string::npos) {
    consumed_ = text_.size() - before;
    // What cannot become a response is refused before it fills the buffer.
    const std::string_view start = std::string_view(text_).substr(0, 5);
    if (start != std::string_view("HTTP/").substr(0, start.size()))
      return fail("the destination does not speak HTTP");
    if (text_.size() >= limits_.bytes) return fail("the response head is larger than the limit");
    return state_;
  }
  text_.resize(at + end.size());
  consumed_ = text_.size() - before;
  if (!parse()) {
    state_ = State::failed;
    return state_;
  }
  state_ = State::done;
  return state_;
}

bool ResponseParser::parse() {
  std::string_view rest(text_);
  rest.remove_suffix(2);  // the empty line
  bool first = true;
  while (!rest.empty()) {
    const auto end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, end);
    if (!is_field_value(line)) {
      fault_ = "a control byte in the response head";
      return false;
    }
    if (first ? !parse_status_line(line) : !parse_field(line)) return false;
    first = false;
    rest.remove_prefix(end + 2);
  }
  return true;
}

// HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 section 4); the second space is left
// out by enough servers to be accepted without it.
bool ResponseParser::parse_status_line(std::string_view line) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  fault_ = "the status line is malformed";
  if (line.size() < 12 || !line.starts_with("HTTP/1.") || line[8] != ' ') return false;
  if (line[7] != '0' && line[7] != '1') {
    fault_ = "the destination speaks another version of HTTP";
    return false;
  }
  head_.version = line[7] == '0' ? HttpVersion::http10 : HttpVersion::http11;
  if (!std::ranges::all_of(line.substr(9, 3), digit)) return false;
  head_.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  if (head_.status < 100 || head_.status > 599) return false;
  if (line.size() > 12) {
    if (line[12] != ' ') return false;
    head_.reason = line.substr(13);
  }
  fault_ = "";
  return true;
}

bool ResponseParser::parse_field(std::string_view line) {
  if (head_.fields.size() >= limits_.fields) {
    fault_ = "the response has too many fields";
    return false;
  }
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    fault_ = "a field of the response is malformed";  // folded lines come here as well
    return false;
  }
  Field& field = head_.fields.emplace_back();
  field.name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
    value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
    value.remove_suffix(1);
  field.value = value;
  return true;
}

}  // namespace oceanid::proxy
