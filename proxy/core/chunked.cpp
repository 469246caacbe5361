#include "proxy/core/chunked.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// A size and its extensions: a sender that makes readers chew long lines around single bytes is
// refused (CVE-2023-39326 was that).
constexpr std::size_t max_size_line = 256;
constexpr std::size_t max_digits = 16;
constexpr std::size_t max_trailer_bytes = 16384;
constexpr std::size_t max_trailers = 64;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 9110 section 6.5.1: what frames, routes, authenticates or describes the message has no place
// behind it.
bool may_trail(const Field& field) {
  constexpr std::array<std::string_view, 17> never = {"transfer-encoding",
                                                      "content-length",
                                                      "host",
                                                      "connection",
                                                      "keep-alive",
                                                      "te",
                                                      "trailer",
                                                      "upgrade",
                                                      "authorization",
                                                      "cookie",
                                                      "set-cookie",
                                                      "cache-control",
                                                      "content-encoding",
                                                      "content-type",
                                                      "content-range",
                                                      "expect",
                                                      "max-forwards"};
  if (field.name.size() >= 6 &&
      equal_without_case(std::string_view(field.name).substr(0, 6), "proxy-"))
    return false;
  return std::ranges::none_of(
      never, [&](std::string_view name) { return equal_without_case(field.name, name); });
}

}  // namespace

void ChunkedReader::fail(const char* why) {
  fault_ = why;
  state_ = State::failed;
}

ChunkedReader::Step ChunkedReader::take(std::string_view bytes) {
  Step out;
  while (state_ == State::need_more && out.consumed < bytes.size()) {
    if (at_ != At::data) {
      step(bytes[out.consumed]);
      if (state_ == State::failed) break;
      ++out.consumed;
      continue;
    }
    const auto rest = bytes.size() - out.consumed;
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest));
    out.data = bytes.substr(out.consumed, size);
    out.consumed += size;
    left_ -= size;
    if (left_ == 0) at_ = At::data_cr;
    break;
  }
  return out;
}

void ChunkedReader::step(char c) {
  switch (at_) {
    case At::size_start:
    case At::size:
    case At::size_blank:
    case At::extension:
      return on_size_line(c);
    case At::size_lf:
      if (c != '\n') return fail("a bare CR in a chunk's size line");
      return on_line_end();
    case At::data:
      return;
    case At::data_cr:
      if (c != '\r') return fail("a chunk is longer than its size");
      at_ = At::data_lf;
      return;
    case At::data_lf:
      if (c != '\n') return fail("a chunk is longer than its size");
      at_ = At::size_start;
      return;
    case At::trailer:
    case At::trailer_lf:
      return on_trailer(c);
  }
}

// chunk-size [ chunk-ext ] CRLF, where chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS value ] ).
void ChunkedReader::on_size_line(char c) {
  if (++line_bytes_ > max_size_line) return fail("a chunk's size line is too long");
  if ((at_ == At::size_start || at_ == At::size) && hex_value(c) >= 0) return on_size_digit(c);
  if (at_ == At::size_start) return fail("a chunk has no size");
  if (c == '\r') {
    at_ = At::size_lf;
  } else if (at_ == At::extension) {
    if (!is_field_value(std::string_view(&c, 1))) fail("a control byte in a chunk's size line");
  } else if (c == ';') {
    at_ = At::extension;
  } else if (c == ' ' || c == '\t') {
    at_ = At::size_blank;
  } else {
    fail("a chunk's size is not a hexadecimal number");
  }
}

void ChunkedReader::on_size_digit(char c) {
  if (++digits_ > max_digits || left_ > (std::numeric_limits<std::int64_t>::max() >> 4))
    return fail("a chunk's size is too large");
  left_ = left_ << 4 | static_cast<std::uint64_t>(hex_value(c));
  at_ = At::size;
}

void ChunkedReader::on_line_end() {
  line_bytes_ = 0;
  digits_ = 0;
  at_ = left_ > 0 ? At::data : At::trailer;
}

void ChunkedReader::on_trailer(char c) {
  if (++trailer_bytes_ > max_trailer_bytes) return fail("the trailers are too long");
  if (at_ == At::trailer_lf) {
    if (c != '\n') return fail("a bare CR in a trailer");
    return finish_trailer_line();
  }
  if (c == '\r') {
    at_ = At::trailer_lf;
    return;
  }
  if (!is_field_value(std::string_view(&c, 1))) return fail("a control byte in a trailer");
  line_.push_back(c);
}

void ChunkedReader::finish_trailer_line() {
  if (line_.empty()) {
    state_ = State::done;
    return;
  }
  const std::string_view line(line_);
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon)))
    return fail("a trailer is malformed");
  if (trailers_.size() >= max_trailers) return fail("there are too many trailers");
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
    value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
    value.remove_suffix(1);
  trailers_.push_back({std::string(line.substr(0, colon)), std::string(value)});
  line_.clear();
  at_ = At::trailer;
}

std::string chunk_head(std::size_t size) {
  return fmt::format("{:x}\r\n", size);
}

std::string last_chunk(const std::vector<Field>& trailers) {
  std::string out = "0\r\n";
  for (const Field& field : trailers)
    if (may_trail(field)) out += field.name + ": " + field.value + "\r\n";
  return out + "\r\n";
}

}  // namespace oceanid::proxy
