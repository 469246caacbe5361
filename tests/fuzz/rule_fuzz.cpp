// Entries of allow and deny lists from arbitrary bytes. What must hold: an accepted one matches
// what it names, denies it when it stands in deny, and never matches a name by its address rules.
#include "proxy/core/policy.hpp"
#include "proxy/core/rule.hpp"
#include "proxy/core/target.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

using namespace oceanid;
using namespace oceanid::proxy;

void require(bool condition) {
  if (!condition) std::abort();
}

void check(const Rule& rule) {
  const std::uint16_t port = rule.ports.empty() ? 443 : rule.ports.front().first;
  require(rule.takes_port(port));
  Role role;
  role.name = "r";
  role.allow = {rule.text};
  ProxySettings settings;
  settings.policy.roles = {role};
  HostPort destination{"any.test", port};
  if (rule.kind == Rule::Kind::exact) destination.host = rule.host;
  if (rule.kind == Rule::Kind::suffix) destination.host = "x." + rule.host;
  if (rule.kind == Rule::Kind::address) destination.host = rule.prefix.address().to_string();
  require(Policy(settings).decide({}, destination, Asked::plain_http).allowed);
  settings.policy.roles[0].deny = {rule.text};
  require(!Policy(settings).decide({}, destination, Asked::plain_http).allowed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto rule = parse_rule(text)) check(*rule);
  return 0;
}
