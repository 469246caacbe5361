#include "proxy/core/head_rules.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace oceanid::proxy {
namespace {

// Letters, digits, "-._~" and what literals and ports need. Commas (two Hosts merged into one),
// '@', '/',
// '%' and the rest of RFC 3986's reg-name never appear in a name that can be resolved.
bool is_host_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~:[]").find(c) != std::string_view::npos;
}

HeadError check_host(const RequestHead& head) {
  const auto hosts = values_of(head.fields, "host");
  if (hosts.size() > 1) return HeadError::several_hosts;
  if (hosts.empty())
    return head.version == HttpVersion::http11 ? HeadError::missing_host : HeadError::none;
  return std::ranges::all_of(hosts.front(), is_host_byte) ? HeadError::none
                                                          : HeadError::invalid_host;
}

// RFC 9112 section 6.1: chunked comes last and once; a coding that we do not know is answered with
// 501.
HeadError check_transfer_codings(const std::vector<std::string_view>& values) {
  const auto codings = list_members(values);
  const auto is_chunked = [](std::string_view c) { return equal_without_case(c, "chunked"); };
  if (!is_chunked(codings.back()) || std::ranges::count_if(codings, is_chunked) != 1 ||
      std::ranges::any_of(codings, [](std::string_view c) { return c.empty(); }))
    return HeadError::transfer_encoding_not_chunked;
  return codings.size() == 1 ? HeadError::none : HeadError::unsupported_transfer_coding;
}

HeadError check_content(const RequestHead& head) {
  const auto lengths = values_of(head.fields, "content-length");
  const auto encodings = values_of(head.fields, "transfer-encoding");
  std::uint64_t length = 0;
  if (!encodings.empty()) {
    if (!lengths.empty()) return HeadError::length_and_transfer_encoding;
    if (head.version == HttpVersion::http10) return HeadError::transfer_encoding_in_http10;
    const HeadError wrong = check_transfer_codings(encodings);
    if (wrong != HeadError::none) return wrong;
  }
  if (lengths.size() > 1) return HeadError::several_content_lengths;
  if (!lengths.empty()) {
    const auto parsed = parse_content_length(lengths.front());
    if (!parsed) return HeadError::invalid_content_length;
    length = *parsed;
  }
  // CONNECT has no content (RFC 9110 section 9.3.6): were the bytes behind this head content or the
  // tunnel's first data? Two readings, so none. "Content-Length: 0" leaves no doubt and some
  // clients send it.
  if (head.method == "CONNECT" && (length > 0 || !encodings.empty()))
    return HeadError::content_in_connect;
  return HeadError::none;
}

}  // namespace

HeadError check_fields(const RequestHead& head) {
  const HeadError host = check_host(head);
  return host != HeadError::none ? host : check_content(head);
}

}  // namespace oceanid::proxy
