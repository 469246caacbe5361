#include "proxy/core/parent_connect.hpp"

#include "proxy/core/http_fields.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

// Longer than any pause that a client would keep: what is more is a mistake.
constexpr std::uint64_t longest_retry_after = 86'400;

Reason reason_of_status(int status) {
  switch (status) {
    case 403:
      return Reason::parent_denied;
    case 407:
      return Reason::parent_auth;
    case 429:
    case 503:
      return Reason::parent_unavailable;
    case 504:
      return Reason::parent_timeout;
    default:
      return Reason::parent_failed;
  }
}

// Only as a number of seconds: a date depends on the parent's clock.
int retry_after_of(const ResponseHead& answer) {
  const auto values = values_of(answer.fields, "retry-after");
  const auto seconds = values.size() == 1 ? parse_content_length(values.front()) : std::nullopt;
  return static_cast<int>(std::min(seconds.value_or(0), longest_retry_after));
}

}  // namespace

std::string render_parent_connect(const ParentProxy& parent, const HostPort& destination,
                                  std::string_view received_via, std::string_view pseudonym) {
  const std::string authority = destination.to_string();
  std::string out =
      fmt::format("CONNECT {} HTTP/1.1\r\nHost: {}\r\nVia: {}{}1.1 {}\r\n", authority, authority,
                  received_via, received_via.empty() ? "" : ", ", pseudonym);
  if (!parent.authorization.empty())
    out += fmt::format("Proxy-Authorization: {}\r\n", parent.authorization);
  return out + "\r\n";
}

std::optional<Refusal> refusal_of_parent(const ResponseHead& answer) {
  if (answer.status / 100 == 2) return std::nullopt;
  Refusal out;
  out.reason = answer.status == 101 ? Reason::parent_bad_answer : reason_of_status(answer.status);
  out.detail = fmt::format("the parent proxy answered {}", answer.status);
  out.received_status = answer.status;
  if (out.reason == Reason::parent_unavailable) out.retry_after = retry_after_of(answer);
  return out;
}

}  // namespace oceanid::proxy
