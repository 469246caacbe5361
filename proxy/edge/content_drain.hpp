#pragma once
// The rest of a request's content that nobody wants, so that the client's next request is found
// behind it (RFC 9112 section 9.3).

#include "proxy/core/request_content.hpp"
#include "proxy/edge/stream_io.hpp"

#include <string>

namespace oceanid::proxy {

// Whether it came to its end, within small bounds of size and time. `buffered`: what has been
// received and not looked at; afterwards, what follows the content.
awaitable<bool> drain(Descriptor& client, RelayPool& pool, Timer& timer, std::string& buffered,
                      RequestContent& content);

}  // namespace oceanid::proxy
