#include "proxy/core/request_head.hpp"

#include "proxy/core/head_rules.hpp"
#include "proxy/core/http_fields.hpp"

#include <algorithm>
#include <array>

namespace oceanid::proxy {
namespace {

// No method that we know is longer than 16 bytes; RFC 9112 section 3 wants 501 for what is longer
// than any.
constexpr std::size_t max_method = 32;

constexpr std::uint8_t token_byte = 1;   // tchar, RFC 9110 section 5.6.2
constexpr std::uint8_t target_byte = 2;  // visible ASCII
constexpr std::uint8_t value_byte = 4;   // HTAB, SP, visible ASCII, obs-text (RFC 9110 section 5.5)

constexpr std::array<std::uint8_t, 256> classify_bytes() {
  std::array<std::uint8_t, 256> out{};
  for (unsigned c = 0x21; c < 0x7f; ++c)
    out[c] = token_byte | target_byte | value_byte;
  for (const char c : std::string_view("\"(),/:;<=>?@[\\]{}"))
    out[static_cast<unsigned char>(c)] = target_byte | value_byte;
  for (unsigned c = 0x80; c < 0x100; ++c)
    out[c] = value_byte;
  out[' '] = value_byte;
  out['\t'] = value_byte;
  return out;
}
constexpr auto byte_class = classify_bytes();

bool is_class(char c, std::uint8_t wanted) {
  return (byte_class[static_cast<unsigned char>(c)] & wanted) != 0;
}

std::size_t run_of(std::string_view bytes, std::uint8_t wanted) {
  std::size_t n = 0;
  while (n < bytes.size() && is_class(bytes[n], wanted))
    ++n;
  return n;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}
bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}
bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

}  // namespace

const std::string* RequestHead::find(std::string_view lower_name) const {
  for (const Field& field : fields)
    if (equal_without_case(field.name, lower_name)) return &field.value;
  return nullptr;
}

HeadParser::HeadParser(HeadLimits limits) : limits_(limits) {}

HeadParser::State HeadParser::feed(std::string_view bytes) {
  consumed_ = 0;
  if (state_ != State::need_more) return state_;
  const std::string_view within = bytes.substr(0, limits_.bytes - total_);
  while (consumed_ < within.size() && state_ == State::need_more)
    consumed_ += step(within.substr(consumed_));
  total_ += consumed_;
  if (state_ == State::need_more && within.size() < bytes.size()) refuse(over_limit());
  return state_;
}

HeadError HeadParser::over_limit() const {
  return at_ == At::target ? HeadError::target_too_long : HeadError::head_too_large;
}

// Each step takes one run of bytes or one delimiter, so that the place of an error does not depend
// on how the bytes were split into feeds.
std::size_t HeadParser::step(std::string_view bytes) {
  const char c = bytes.front();
  switch (at_) {
    case At::start:
      return step_start(bytes);
    case At::blank_lf:
      blank_line_seen_ = true;
      return expect_lf(c, At::start);
    case At::method:
      return step_method(bytes);
    case At::target_first:
      if (c == ' ') return refuse(HeadError::extra_space);
      at_ = At::target;
      return step_target(bytes);
    case At::target:
      return step_target(bytes);
    case At::version:
      return step_version(c);
    case At::version_lf:
    case At::value_lf:
      return expect_lf(c, At::line_start);
    case At::line_start:
      return step_line_start(c);
    case At::name:
      return step_name(bytes);
    case At::value_start:
      if (is_blank(c)) return 1;
      at_ = At::value;
      return step_value(bytes);
    case At::value:
      return step_value(bytes);
    case At::end_lf:
      if (c != '\n') return refuse(HeadError::bare_cr);
      finish();
      return 1;
  }
  return refuse(HeadError::head_too_large);  // not reached: every state is above
}

std::size_t HeadParser::refuse(HeadError error) {
  error_ = error;
  state_ = State::failed;
  return 0;
}

std::size_t HeadParser::expect_lf(char c, At next) {
  if (c != '\n') return refuse(HeadError::bare_cr);
  at_ = next;
  return 1;
}

// RFC 9112 section 2.2: a server should ignore at least one empty line before the request line. We
// ignore one.
std::size_t HeadParser::step_start(std::string_view bytes) {
  const char c = bytes.front();
  if (c == '\r') {
    if (blank_line_seen_) return refuse(HeadError::leading_blank_lines);
    at_ = At::blank_lf;
    return 1;
  }
  // Common mistakes deserve their own word: an https:// proxy URL against a plain port (a TLS
  // record of type handshake starts with 0x16), or a SOCKS client (version 4 or 5 first).
  if (c == 0x16) return refuse(HeadError::tls_handshake);
  if (c == 0x04 || c == 0x05) return refuse(HeadError::socks_handshake);
  if (c == ' ') return refuse(HeadError::empty_method);
  if (c == '\n') return refuse(HeadError::bare_lf);
  at_ = At::method;
  return step_method(bytes);
}

std::size_t HeadParser::step_method(std::string_view bytes) {
  const std::size_t run = std::min(run_of(bytes, token_byte), max_method - head_.method.size());
  if (run > 0) {
    head_.method += bytes.substr(0, run);
    return run;
  }
  const char c = bytes.front();
  if (c == ' ') {
    at_ = At::target_first;
    return 1;
  }
  if (is_class(c, token_byte)) return refuse(HeadError::method_too_long);
  if (c == '\r') return refuse(HeadError::missing_version);
  if (c == '\n') return refuse(HeadError::bare_lf);
  if (!is_ascii(c)) return refuse(HeadError::non_ascii_request_line);
  return refuse(is_control(c) && !is_blank(c) ? HeadError::control_byte
                                              : HeadError::invalid_method);
}

std::size_t HeadParser::step_target(std::string_view bytes) {
  if (const std::size_t run = run_of(bytes, target_byte); run > 0) {
    head_.target += bytes.substr(0, run);
    return run;
  }
  const char c = bytes.front();
  if (c == ' ') {
    at_ = At::version;
    return 1;
  }
  if (c == '\r') return refuse(HeadError::missing_version);
  if (c == '\n') return refuse(HeadError::bare_lf);
  return refuse(is_ascii(c) ? HeadError::control_byte : HeadError::non_ascii_request_line);
}

std::size_t HeadParser::step_version(char c) {
  if (c == '\r') {
    const HeadError wrong = check_version();
    if (wrong != HeadError::none) return refuse(wrong);
    if (version_.back() == '0') head_.version = HttpVersion::http10;
    at_ = At::version_lf;
    return 1;
  }
  if (c == ' ') return refuse(HeadError::extra_space);
  if (c == '\n') return refuse(HeadError::bare_lf);
  constexpr std::size_t version_length = 8;  // "HTTP/1.1"
  if (version_.size() == version_length) return refuse(HeadError::malformed_version);
  version_.push_back(c);
  return 1;
}

// HTTP-version = "HTTP/" DIGIT "." DIGIT, in capitals (RFC 9112 section 2.3).
HeadError HeadParser::check_version() const {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version_.empty()) return HeadError::missing_version;
  if (version_.size() != 8 || !version_.starts_with("HTTP/") || !digit(version_[5]) ||
      version_[6] != '.' || !digit(version_[7]))
    return HeadError::malformed_version;
  if (version_[5] != '1' || version_[7] > '1') return HeadError::unsupported_version;
  return HeadError::none;
}

std::size_t HeadParser::step_line_start(char c) {
  if (c == '\r') {
    at_ = At::end_lf;
    return 1;
  }
  if (c == '\n') return refuse(HeadError::bare_lf);
  if (is_blank(c))
    return refuse(head_.fields.empty() ? HeadError::space_before_first_field
                                       : HeadError::folded_field);
  if (c == ':') return refuse(HeadError::empty_field_name);
  if (!is_class(c, token_byte))
    return refuse(is_control(c) ? HeadError::control_byte : HeadError::invalid_field_name);
  if (head_.fields.size() >= limits_.fields) return refuse(HeadError::too_many_fields);
  head_.fields.emplace_back().name.push_back(c);
  at_ = At::name;
  return 1;
}

std::size_t HeadParser::step_name(std::string_view bytes) {
  if (const std::size_t run = run_of(bytes, token_byte); run > 0) {
    head_.fields.back().name += bytes.substr(0, run);
    return run;
  }
  const char c = bytes.front();
  if (c == ':') {
    at_ = At::value_start;
    return 1;
  }
  if (is_blank(c)) return refuse(HeadError::space_before_colon);
  if (c == '\r') return refuse(HeadError::missing_colon);
  if (c == '\n') return refuse(HeadError::bare_lf);
  return refuse(is_control(c) ? HeadError::control_byte : HeadError::invalid_field_name);
}

std::size_t HeadParser::step_value(std::string_view bytes) {
  std::string& value = head_.fields.back().value;
  if (const std::size_t run = run_of(bytes, value_byte); run > 0) {
    value += bytes.substr(0, run);
    return run;
  }
  const char c = bytes.front();
  if (c == '\n') return refuse(HeadError::bare_lf);
  if (c != '\r') return refuse(HeadError::control_byte);
  while (!value.empty() && is_blank(value.back()))
    value.pop_back();
  at_ = At::value_lf;
  return 1;
}

void HeadParser::finish() {
  error_ = check_fields(head_);
  state_ = error_ == HeadError::none ? State::done : State::failed;
}

}  // namespace oceanid::proxy
