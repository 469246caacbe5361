// Destinations from arbitrary bytes. What must hold: an accepted one is canonical (reading it again
// changes nothing), is an address literal or a plain name, and names the same host as itself in a
// Host field; where the C library's inet_aton reads an address, we dial that very address or
// refuse.
#include "gateway/base/net_types.hpp"
#include "proxy/core/guard.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <arpa/inet.h>

namespace {

using namespace oceanid;
using namespace oceanid::proxy;

void require(bool condition) {
  if (!condition) std::abort();
}

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

void check_host(const std::string& host) {
  if (const auto address = IpAddress::parse(host)) {
    require(address->to_string() == host);
    static const Guard guard({}, {});
    require(!guard.judge(*address).rule.empty());
    return;
  }
  require(!host.empty() && host.size() <= 253 && std::ranges::all_of(host, is_name_byte));
  require(!host.starts_with('.') && !host.ends_with('.') && host.find("..") == std::string::npos);
  in_addr ignored{};
  require(inet_aton(host.c_str(), &ignored) ==
          0);  // a name that a resolver would take for an address
}

// The C library stops at white space and takes "0x" for 0; bytes outside the grammar make it moot.
void check_against_inet_aton(const std::string& text, const Result<HostPort>& got) {
  const std::string host = text.substr(0, text.find(':'));
  const auto numeric = [](char c) {
    return std::string_view("0123456789abcdefABCDEFxX.").find(c) != std::string_view::npos;
  };
  in_addr expected{};
  if (host.empty() || !std::ranges::all_of(host, numeric) ||
      inet_aton(host.c_str(), &expected) == 0)
    return;
  if (got) require(got->host == inet_ntoa(expected));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const auto got = parse_authority(text);
  check_against_inet_aton(text, got);
  if (!got) {
    require(!got.error().what.empty());
    return 0;
  }
  require(got->port != 0);
  check_host(got->host);
  const auto again = parse_authority(got->to_string());
  require(again.has_value() && again->to_string() == got->to_string());
  require(is_host_field(text));
  return 0;
}
