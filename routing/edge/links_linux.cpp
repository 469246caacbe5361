// Links and their addresses.

#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <algorithm>

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {

Result<std::vector<LinkFacts>> LinuxKernel::read_links() {
  std::vector<LinkFacts> links;
  Message ask_links(RTM_GETLINK, NLM_F_DUMP);
  ask_links.extra<ifinfomsg>().ifi_family = AF_UNSPEC;
  ask_links.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto dumped = route_.dump(
      ask_links, [&] { links.clear(); },
      [&](const nlmsghdr& message) {
        if (auto link = decode_link(message)) links.push_back(std::move(*link));
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading links"));

  std::vector<DecodedAddress> addresses;
  Message ask_addresses(RTM_GETADDR, NLM_F_DUMP);
  ask_addresses.extra<ifaddrmsg>().ifa_family = AF_UNSPEC;
  dumped = route_.dump(
      ask_addresses, [&] { addresses.clear(); },
      [&](const nlmsghdr& message) {
        if (auto address = decode_address(message)) addresses.push_back(*address);
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading addresses"));
  for (DecodedAddress& address : addresses) {
    const auto link = std::ranges::find(links, address.device, &LinkFacts::index);
    if (link != links.end()) link->addresses.push_back(address.facts);
  }
  return links;
}

}  // namespace oceanid::routing
