#include "proxy/core/request_head.hpp"

#include <array>

namespace oceanid::proxy {
namespace {

struct Row {
  HeadError error;
  int status;
  std::string_view name;
  std::string_view sentence;
};

using enum HeadError;
constexpr std::array rows = {
    Row{none, 200, "none", "the head is in order"},
    Row{tls_handshake, 400, "tls_handshake",
        "the client began a TLS handshake, but this port speaks plain HTTP: the proxy URL must "
        "begin with http://"},
    Row{socks_handshake, 400, "socks_handshake",
        "the client began a SOCKS handshake, but this port speaks HTTP: the proxy URL must begin "
        "with http://"},
    Row{leading_blank_lines, 400, "leading_blank_lines",
        "more than one empty line stands before the request line (RFC 9112 section 2.2)"},
    Row{bare_cr, 400, "bare_cr",
        "a carriage return is not followed by a line feed (RFC 9112 section 2.2)"},
    Row{bare_lf, 400, "bare_lf",
        "a line ends in a line feed without a carriage return (RFC 9112 section 2.2)"},
    Row{control_byte, 400, "control_byte",
        "the head contains a control byte (RFC 9110 section 5.5)"},
    Row{non_ascii_request_line, 400, "non_ascii_request_line",
        "the request line contains a byte that is not ASCII (international names travel as "
        "Punycode)"},
    Row{empty_method, 400, "empty_method",
        "the request line begins with a space instead of a method"},
    Row{invalid_method, 400, "invalid_method", "the method is not a token (RFC 9110 section 9.1)"},
    Row{method_too_long, 501, "method_too_long", "the method is longer than any that is known"},
    Row{extra_space, 400, "extra_space",
        "the request line has more than the two single spaces it needs (RFC 9112 section 3)"},
    Row{missing_version, 400, "missing_version",
        "the request line is not METHOD TARGET HTTP/1.1 (RFC 9112 section 3)"},
    Row{target_too_long, 414, "target_too_long",
        "the request target alone is longer than the limit for a head"},
    Row{malformed_version, 400, "malformed_version",
        "the version is not HTTP/DIGIT.DIGIT (RFC 9112 section 2.3)"},
    Row{unsupported_version, 505, "unsupported_version",
        "only HTTP/1.1 and HTTP/1.0 are spoken here"},
    Row{space_before_first_field, 400, "space_before_first_field",
        "white space stands between the request line and the first field (RFC 9112 section 2.2)"},
    Row{folded_field, 400, "folded_field",
        "a field is folded over several lines (RFC 9112 section 5.2)"},
    Row{empty_field_name, 400, "empty_field_name", "a field has no name"},
    Row{space_before_colon, 400, "space_before_colon",
        "white space stands between a field's name and its colon (RFC 9112 section 5.1)"},
    Row{invalid_field_name, 400, "invalid_field_name",
        "a field's name is not a token (RFC 9110 section 5.1)"},
    Row{missing_colon, 400, "missing_colon", "a field has no colon"},
    Row{head_too_large, 431, "head_too_large",
        "the head is larger than the limit (limits.head_bytes)"},
    Row{too_many_fields, 431, "too_many_fields",
        "the head has more fields than the limit (limits.head_fields)"},
    Row{missing_host, 400, "missing_host",
        "an HTTP/1.1 request needs a Host field (RFC 9112 section 3.2)"},
    Row{several_hosts, 400, "several_hosts",
        "there is more than one Host field (RFC 9112 section 3.2)"},
    Row{invalid_host, 400, "invalid_host",
        "the Host field is not a host with an optional port (RFC 9112 section 3.2)"},
    Row{several_content_lengths, 400, "several_content_lengths",
        "there is more than one Content-Length field (RFC 9112 section 6.3)"},
    Row{invalid_content_length, 400, "invalid_content_length",
        "Content-Length is not one decimal number (RFC 9110 section 8.6)"},
    Row{length_and_transfer_encoding, 400, "length_and_transfer_encoding",
        "both Content-Length and Transfer-Encoding are present (RFC 9112 section 6.1)"},
    Row{transfer_encoding_in_http10, 400, "transfer_encoding_in_http10",
        "Transfer-Encoding does not exist in HTTP/1.0 (RFC 9112 section 6.1)"},
    Row{transfer_encoding_not_chunked, 400, "transfer_encoding_not_chunked",
        "Transfer-Encoding does not end in chunked, once (RFC 9112 section 6.3)"},
    Row{unsupported_transfer_coding, 501, "unsupported_transfer_coding",
        "chunked is the only transfer coding spoken here"},
    Row{content_in_connect, 400, "content_in_connect",
        "a CONNECT request has no content, yet a length or coding announces one (RFC 9110 section "
        "9.3.6)"},
};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::size_t>(rows[i].error) != i) return false;
  return rows.size() == static_cast<std::size_t>(last_head_error) + 1;
}
static_assert(in_order(), "one row for each HeadError, in the order of the enumerators");

const Row& row_of(HeadError error) {
  return rows[static_cast<std::size_t>(error)];
}

}  // namespace

int status_of(HeadError error) {
  return row_of(error).status;
}
std::string_view describe(HeadError error) {
  return row_of(error).sentence;
}
std::string_view to_string(HeadError error) {
  return row_of(error).name;
}

}  // namespace oceanid::proxy
