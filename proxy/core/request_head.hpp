#pragma once
// The head of an HTTP/1.x request, read strictly as RFC 9112 has it. What two programs could read
// in two ways (bare CR or LF, folded fields, a space before the colon, two lengths) is refused,
// never repaired: a lenient head is how requests are smuggled past a policy.
//
// HeadParser is fed bytes as they come, in pieces of any size, and gives the same answer for every
// split. It holds at most HeadLimits::bytes of the head. Values only: no I/O, no clock; one thread
// at a time.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace oceanid::proxy {

struct HeadLimits {
  std::size_t bytes = 65536;  // the whole head, its final empty line included
  std::size_t fields = 100;
};

struct Field {
  std::string name;   // as received
  std::string value;  // without the white space around it
  bool operator==(const Field&) const = default;
};

enum class HttpVersion : std::uint8_t { http10, http11 };

struct RequestHead {
  std::string method;  // a token, case-sensitive (RFC 9110 section 9.1): "connect" is not CONNECT
  std::string target;
  HttpVersion version = HttpVersion::http11;
  std::vector<Field> fields;

  // The first field of that name, compared without case; null when there is none. Valid as long as
  // the head.
  const std::string* find(std::string_view lower_name) const;
  bool operator==(const RequestHead&) const = default;
};

// One enumerator for each way to break the rules; describe() says which rule in one sentence.
enum class HeadError : std::uint8_t {
  none,
  tls_handshake,  // the client began TLS on a port that speaks plain HTTP
  socks_handshake,
  leading_blank_lines,
  bare_cr,
  bare_lf,
  control_byte,
  non_ascii_request_line,
  empty_method,
  invalid_method,
  method_too_long,
  extra_space,
  missing_version,
  target_too_long,
  malformed_version,
  unsupported_version,
  space_before_first_field,
  folded_field,
  empty_field_name,
  space_before_colon,
  invalid_field_name,
  missing_colon,
  head_too_large,
  too_many_fields,
  missing_host,
  several_hosts,
  invalid_host,
  several_content_lengths,
  invalid_content_length,
  length_and_transfer_encoding,
  transfer_encoding_in_http10,
  transfer_encoding_not_chunked,
  unsupported_transfer_coding,
  content_in_connect,
};
inline constexpr auto last_head_error = HeadError::content_in_connect;

int status_of(HeadError error);               // 400, 414, 431, 501 or 505
std::string_view describe(HeadError error);   // one sentence for a human
std::string_view to_string(HeadError error);  // the enumerator's name, for logs

class HeadParser {
 public:
  enum class State : std::uint8_t { need_more, done, failed };

  explicit HeadParser(HeadLimits limits = {});

  // Takes the next bytes. After `done` or `failed` the parser rests: further feeds consume nothing.
  State feed(std::string_view bytes);

  // How many bytes of the last feed belong to the head. With `done`, what follows is the content or
  // (CONNECT) early data for the target; with `failed`, the offending byte is the next one.
  std::size_t consumed_of_last_feed() const { return consumed_; }

  bool started() const { return total_ > 0; }  // any byte seen: idle and half-sent heads differ
  State state() const { return state_; }
  const RequestHead& head() const { return head_; }  // complete only when done
  RequestHead take_head() { return std::move(head_); }
  HeadError error() const { return error_; }

 private:
  enum class At : std::uint8_t {
    start,
    blank_lf,
    method,
    target_first,
    target,
    version,
    version_lf,
    line_start,
    name,
    value_start,
    value,
    value_lf,
    end_lf
  };

  std::size_t step(std::string_view bytes);  // at least one byte, or an error, or the end
  std::size_t step_start(std::string_view bytes);
  std::size_t step_method(std::string_view bytes);
  std::size_t step_target(std::string_view bytes);
  std::size_t step_version(char c);
  std::size_t step_line_start(char c);
  std::size_t step_name(std::string_view bytes);
  std::size_t step_value(std::string_view bytes);
  std::size_t expect_lf(char c, At next);
  std::size_t refuse(HeadError error);
  HeadError check_version() const;
  void finish();
  HeadError over_limit() const;

  HeadLimits limits_;
  State state_ = State::need_more;
  At at_ = At::start;
  HeadError error_ = HeadError::none;
  bool blank_line_seen_ = false;
  std::size_t total_ = 0;
  std::size_t consumed_ = 0;
  std::string version_;
  RequestHead head_;
};

}  // namespace oceanid::proxy
