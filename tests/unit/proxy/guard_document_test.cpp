// deploy/GUARD.md is what the guard's table says. To write it anew, run this program with
// OCEANID_WRITE_GENERATED=1 in its environment.
#include "proxy/core/guard.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

constexpr std::string_view introduction = R"(# Address guard

What no client may reach unless `proxy.guard.allow` says so: judged on the address that is about to be dialled, after
resolution, and on every IPv4 address that it carries (mapped, compatible, translated, 6to4, NAT64, Teredo, ISATAP).
Among the rows below, `guard.allow`, `guard.deny` and the gateway's own ranges the longest prefix wins; at equal length
`guard.deny` beats `guard.allow`, which beats the own ranges, which beat this table. Sources: the IANA IPv4 and IPv6
Special-Purpose Address Registries, every row, and the documents named. The token is the label `range` of
`oceanid_proxy_guard_denied_total`.

Own ranges (tokens `own-listener`, `own-pods`, `own-services`, `own-tunnel`, `own-node`): this node's addresses and
listeners, `routing.sources`, `routing.bypass`, `routing.nodes`, the tunnel's addresses, peers' networks and endpoints.

| prefix | token | verdict | what it is | source |
|---|---|---|---|---|
)";

std::string document() {
  std::string out(introduction);
  for (const SpecialRange& row : special_ranges())
    out += fmt::format("| `{}` | `{}` | {} | {} | {} |\n", row.prefix, row.token,
                       row.reachable ? "reachable" : "refused", row.name, row.reference);
  return out;
}

TEST(GuardDocument, IsTheCommittedOne) {
  const std::string path = std::string(OCEANID_SOURCE_DIR) + "/deploy/GUARD.md";
  if (std::getenv("OCEANID_WRITE_GENERATED") != nullptr) std::ofstream(path) << document();
  std::ifstream in(path, std::ios::binary);
  const std::string committed{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(committed == document())
      << "deploy/GUARD.md differs; run unit_proxy with OCEANID_WRITE_GENERATED=1 and commit the "
         "result";
}

}  // namespace
}  // namespace oceanid::proxy
