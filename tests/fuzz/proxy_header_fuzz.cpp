// PROXY headers from arbitrary bytes. What must hold: a prefix of a header asks for more and what
// follows it changes nothing; a refusal never turns into a header; a header that was read can be
// written and reads the same.
#include "proxy/core/proxy_header.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using namespace oceanid::proxy;
using State = ProxyHeaderRead::State;

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const auto whole = read_proxy_header(text);
  State before = State::need_more;
  for (std::size_t n = 0; n <= size && n < 300; ++n) {
    const auto part = read_proxy_header(std::string_view(text).substr(0, n));
    if (before == State::failed) require(part.state == State::failed);
    if (before == State::done) require(part.state == State::done && part.size == whole.size);
    before = part.state;
  }
  require((whole.state == State::failed) != whole.problem.empty());
  if (whole.state == State::need_more) require(size < max_proxy_header);
  if (whole.state != State::done) return 0;
  require(whole.size <= size && whole.size <= max_proxy_header);
  const auto alone = read_proxy_header(std::string_view(text).substr(0, whole.size));
  require(alone.state == State::done && alone.size == whole.size && alone.header == whole.header);
  if (!whole.header) return 0;
  const std::string written = write_proxy_header(*whole.header);
  const auto again = read_proxy_header(written);
  require(again.state == State::done && again.size == written.size());
  require(again.header == whole.header);
  return 0;
}
