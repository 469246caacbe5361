// SOCKS5 messages from arbitrary bytes. Byte 0 picks the message. What must hold: a verdict over a
// prefix stays with more bytes behind it; a target is canonical.
#include "proxy/core/socks5.hpp"
#include "proxy/core/target.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace oceanid::proxy;

void require(bool condition) {
  if (!condition) std::abort();
}

template <class Read>
auto check(std::string_view bytes, Read read) {
  const auto whole = read(bytes);
  auto before = Socks5State::need_more;
  for (std::size_t n = 0; n <= bytes.size(); ++n) {
    const auto part = read(bytes.substr(0, n));
    if (before != Socks5State::need_more) require(part.state == before);
    if (part.state == Socks5State::done) require(part.size <= n && part.size == whole.size);
    before = part.state;
  }
  require(before == whole.state);
  return whole;
}

void check_request(std::string_view bytes) {
  const auto request = check(bytes, read_socks5_request);
  require((request.state == Socks5State::failed) == (request.error != Socks5Reply::succeeded));
  if (request.state != Socks5State::done) return;
  require(request.method == "CONNECT" && request.target.port != 0);
  const auto again = parse_authority(request.target.to_string());
  require(again.has_value() && again->to_string() == request.target.to_string());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 1024) return 0;
  const std::string text(data + 1, data + size);
  switch (data[0] % 3) {
    case 0:
      check(text, read_socks5_greeting);
      break;
    case 1: {
      const auto got = check(text, read_socks5_credentials);
      if (got.state == Socks5State::done)
        require(!got.user.empty() && got.size == 3 + got.user.size() + got.password.size());
      break;
    }
    default:
      check_request(text);
  }
  return 0;
}
