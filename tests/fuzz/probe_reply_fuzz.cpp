// What a probe reads of a foreign answer, on arbitrary bytes: no more than a status and an address,
// and the same for every copy.
#include "proxy/core/probe_reply.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::proxy;
  const std::string text(data, data + size);
  const auto reply = parse_probe_reply(text);
  if (reply && (reply->status < 100 || reply->status > 999)) std::abort();
  if (reply != parse_probe_reply(text)) std::abort();
  if (const auto url = parse_probe_url(text)) {
    if (url->authority.host.empty() || !url->path.starts_with('/')) std::abort();
    static_cast<void>(probe_request(*url));
  }
  return 0;
}
