#include "proxy/core/message_framing.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>

namespace oceanid::proxy {
namespace {

std::unexpected<Error> refuse(const char* why) {
  return fail(Errc::protocol, why);
}

bool persistent(HttpVersion version, std::span<const Field> fields) {
  if (list_has(fields, "connection", "close")) return false;
  return version == HttpVersion::http11 || list_has(fields, "connection", "keep-alive");
}

}  // namespace

Framing framing_of(const RequestHead& head) {
  if (!values_of(head.fields, "transfer-encoding").empty()) return {Content::chunked, 0};
  const auto lengths = values_of(head.fields, "content-length");
  const auto length = lengths.empty() ? std::nullopt : parse_content_length(lengths.front());
  return length && *length > 0 ? Framing{Content::length, *length} : Framing{};
}

Result<Framing> framing_of(const ResponseHead& head, std::string_view method) {
  const auto encodings = values_of(head.fields, "transfer-encoding");
  const auto lengths = values_of(head.fields, "content-length");
  if (!encodings.empty() && !lengths.empty())
    return refuse("the response has both Content-Length and Transfer-Encoding");
  if (lengths.size() > 1) return refuse("the response has several Content-Length fields");
  std::uint64_t length = 0;
  if (!lengths.empty()) {
    const auto parsed = parse_content_length(lengths.front());
    if (!parsed) return refuse("the response's Content-Length is not a number");
    length = *parsed;
  }
  // These have no content whatever their fields say.
  if (method == "HEAD" || head.status / 100 == 1 || head.status == 204 || head.status == 304)
    return Framing{};
  if (!encodings.empty()) {
    if (head.version == HttpVersion::http10)
      return refuse("the response has a Transfer-Encoding in HTTP/1.0");
    const auto codings = list_members(encodings);
    if (codings.size() != 1 || !equal_without_case(codings.front(), "chunked"))
      return refuse("the response's transfer coding is not chunked");
    return Framing{Content::chunked, 0};
  }
  if (lengths.empty()) return Framing{Content::until_close, 0};
  return length > 0 ? Framing{Content::length, length} : Framing{};
}

std::optional<std::chrono::seconds> announced_idle_time(const ResponseHead& head) {
  constexpr std::string_view name = "timeout=";
  constexpr std::uint64_t longest = 86'400;
  for (const std::string_view member : list_members(values_of(head.fields, "keep-alive"))) {
    if (!equal_without_case(member.substr(0, name.size()), name)) continue;
    const auto seconds = parse_content_length(member.substr(name.size()));
    if (seconds) return std::chrono::seconds(std::min(*seconds, longest));
  }
  return std::nullopt;
}

bool keeps_alive(const RequestHead& head) {
  return persistent(head.version, head.fields);
}

bool keeps_alive(const ResponseHead& head) {
  return persistent(head.version, head.fields);
}

}  // namespace oceanid::proxy
