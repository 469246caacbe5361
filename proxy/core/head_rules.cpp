#include "proxy/core/head_rules.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace oceanid::proxy {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

std::vector<std::string_view> values_of(const RequestHead& head, std::string_view lower_name) {
  std::vector<std::string_view> out;
  for (const Field& field : head.fields)
    if (equal_without_case(field.name, lower_name)) out.push_back(field.value);
  return out;
}

// Letters, digits, "-._~" and what literals and ports need. Commas (two Hosts merged into one),
// '@', '/',
// '%' and the rest of RFC 3986's reg-name never appear in a name that can be resolved.
bool is_host_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~:[]").find(c) != std::string_view::npos;
}

HeadError check_host(const RequestHead& head) {
  const auto hosts = values_of(head, "host");
  if (hosts.size() > 1) return HeadError::several_hosts;
  if (hosts.empty())
    return head.version == HttpVersion::http11 ? HeadError::missing_host : HeadError::none;
  return std::ranges::all_of(hosts.front(), is_host_byte) ? HeadError::none
                                                          : HeadError::invalid_host;
}

// 1*DIGIT that fits a signed 64-bit count (RFC 9112 section 6.3: overflow is a recipient's danger).
std::optional<std::uint64_t> parse_length(std::string_view text) {
  if (text.empty()) return std::nullopt;
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (most - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

std::vector<std::string_view> list_items(const std::vector<std::string_view>& values) {
  std::vector<std::string_view> out;
  for (std::string_view value : values) {
    while (true) {
      const auto comma = value.find(',');
      std::string_view item = value.substr(0, comma);
      while (!item.empty() && (item.front() == ' ' || item.front() == '\t'))
        item.remove_prefix(1);
      while (!item.empty() && (item.back() == ' ' || item.back() == '\t'))
        item.remove_suffix(1);
      out.push_back(item);
      if (comma == std::string_view::npos) break;
      value.remove_prefix(comma + 1);
    }
  }
  return out;
}

// RFC 9112 section 6.1: chunked comes last and once; a coding that we do not know is answered with
// 501.
HeadError check_transfer_codings(const std::vector<std::string_view>& values) {
  const auto codings = list_items(values);
  const auto is_chunked = [](std::string_view c) { return equal_without_case(c, "chunked"); };
  if (!is_chunked(codings.back()) || std::ranges::count_if(codings, is_chunked) != 1 ||
      std::ranges::any_of(codings, [](std::string_view c) { return c.empty(); }))
    return HeadError::transfer_encoding_not_chunked;
  return codings.size() == 1 ? HeadError::none : HeadError::unsupported_transfer_coding;
}

HeadError check_content(const RequestHead& head) {
  const auto lengths = values_of(head, "content-length");
  const auto encodings = values_of(head, "transfer-encoding");
  std::uint64_t length = 0;
  if (!encodings.empty()) {
    if (!lengths.empty()) return HeadError::length_and_transfer_encoding;
    if (head.version == HttpVersion::http10) return HeadError::transfer_encoding_in_http10;
    const HeadError wrong = check_transfer_codings(encodings);
    if (wrong != HeadError::none) return wrong;
  }
  if (lengths.size() > 1) return HeadError::several_content_lengths;
  if (!lengths.empty()) {
    const auto parsed = parse_length(lengths.front());
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

bool equal_without_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

HeadError check_fields(const RequestHead& head) {
  const HeadError host = check_host(head);
  return host != HeadError::none ? host : check_content(head);
}

}  // namespace oceanid::proxy
