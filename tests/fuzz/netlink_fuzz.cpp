// Answers and notices of rtnetlink and nf_tables: whatever the kernel says, reading stays in
// bounds, and a rule, route or address that was understood can be named to the kernel again.
#include "routing/edge/facts_watcher.hpp"
#include "routing/edge/netlink_codec.hpp"
#include "routing/edge/netlink_walk.hpp"
#include "routing/edge/nft_watcher.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <linux/rtnetlink.h>

namespace {

using namespace oceanid::routing;

void read_route_message(const nlmsghdr& message) {
  if (const auto rule = decode_rule(message); rule && !encode_delete_rule(rule->rule).complete())
    std::abort();
  if (const auto route = decode_route(message);
      route && !encode_route(RouteAction::remove, route->route, route->device).complete())
    std::abort();
  static_cast<void>(decode_link(message));
  static_cast<void>(decode_address(message));
  const OwnObjects own{.tables = {13128}, .links = {"oc-tethys"}, .indexes = {{2, "oc-tethys"}}};
  static_cast<void>(sign_of(message, own));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<nlmsghdr> aligned(size / sizeof(nlmsghdr) + 1);
  std::memcpy(aligned.data(), data, size);
  int left = static_cast<int>(size);
  NftCommits commits;
  const nlmsghdr* message = aligned.data();
  for (; message_fits(message, left); message = mnl_nlmsg_next(message, &left)) {
    read_route_message(*message);
    static_cast<void>(commits.take(*message));
  }
  return 0;
}
