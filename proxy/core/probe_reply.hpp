#pragma once
// The little that a probe reads of an HTTP answer: its status and, where it was asked for, the
// address in its body. Foreign bytes; nothing beyond `longest_probe_reply` is kept by the caller.
// Pure.

#include "gateway/base/net_types.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace oceanid::proxy {

inline constexpr std::size_t longest_probe_reply = 16384;

struct ProbeReply {
  unsigned status = 0;
  std::optional<IpAddress> address;  // the first word of the body, when it is one
  bool operator==(const ProbeReply&) const = default;
};

// None: no head of an HTTP/1.x answer, or not all of it yet.
std::optional<ProbeReply> parse_probe_reply(std::string_view text);

// An absolute http or https URL, taken apart for the question; none for anything else.
struct ProbeUrl {
  bool tls = false;
  HostPort authority;
  std::string path;  // with the query; at least "/"
  bool operator==(const ProbeUrl&) const = default;
};
std::optional<ProbeUrl> parse_probe_url(std::string_view url);

// HTTP/1.0 and close: no answer comes in chunks.
std::string probe_request(const ProbeUrl& url);

}  // namespace oceanid::proxy
