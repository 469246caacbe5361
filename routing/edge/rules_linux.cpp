// Policy rules of ours.

#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {

Result<void> LinuxKernel::read_rules(Family family, Actual& actual) {
  std::vector<DecodedRule> found;
  Message ask(RTM_GETRULE, NLM_F_DUMP);
  ask.extra<fib_rule_hdr>().family = family == Family::v4 ? AF_INET : AF_INET6;
  auto dumped = route_.dump(
      ask, [&] { found.clear(); },
      [&](const nlmsghdr& message) {
        if (auto rule = decode_rule(message)) found.push_back(std::move(*rule));
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading rules"));
  for (DecodedRule& rule : found)
    (rule.exact ? actual.rules : actual.stale_rules).push_back(std::move(rule.rule));
  return {};
}

}  // namespace oceanid::routing
