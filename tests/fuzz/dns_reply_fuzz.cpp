// DNS replies from arbitrary bytes. What must hold: an answer has addresses exactly when it says
// so, of the family that was asked, without repetition and bounded; bytes behind a reply change
// nothing.
#include "gateway/base/net_types.hpp"
#include "proxy/core/dns_reply.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

using namespace oceanid;
using namespace oceanid::proxy;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const std::string& message, Family family) {
  const auto said = read_dns_reply(message, "db.example.test", family);
  if (!said) return;
  require(said->addresses.empty() == (said->outcome != DnsReply::Outcome::addresses));
  require(said->addresses.size() <= most_addresses);
  require(said->addresses.empty() || said->ttl.has_value());
  require(!said->ttl || (said->ttl->count() >= 0 && said->ttl->count() <= 0x7fffffff));
  for (auto at = said->addresses.begin(); at != said->addresses.end(); ++at) {
    require(family == Family::v6 || at->is_v4());
    require(std::find(said->addresses.begin(), at, *at) == at);
  }
  require(read_dns_reply(message + "more", "DB.example.test", family) == said);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 65535) return 0;
  const std::string message(data, data + size);
  check(message, Family::v4);
  check(message, Family::v6);
  return 0;
}
