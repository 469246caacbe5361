#pragma once
// Where the content of a message ends (RFC 9112 section 6.3). A message that gives two answers is
// an error: the next program on the path could take the other one. Pure.

#include "gateway/base/error.hpp"
#include "proxy/core/request_head.hpp"
#include "proxy/core/response_head.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace oceanid::proxy {

enum class Content : std::uint8_t { none, length, chunked, until_close };

struct Framing {
  Content content = Content::none;
  std::uint64_t length = 0;  // with Content::length
  bool operator==(const Framing&) const = default;
};

// Of a request that HeadParser has accepted, which has checked its fields.
Framing framing_of(const RequestHead& head);

// Of the response to a request with that method. Errors: Errc::protocol, one sentence.
Result<Framing> framing_of(const ResponseHead& head, std::string_view method);

// How long the sender says it keeps the idle connection ("Keep-Alive: timeout=5"), from RFC 2068
// section 19.7.1.1 and still what servers send.
std::optional<std::chrono::seconds> announced_idle_time(const ResponseHead& head);

// Whether the connection may carry another message after this one (RFC 9112 section 9.3).
bool keeps_alive(const RequestHead& head);
bool keeps_alive(const ResponseHead& head);

}  // namespace oceanid::proxy
