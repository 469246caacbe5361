#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_socket.hpp"
#include "routing/edge/overlay_links.hpp"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

std::optional<OverlayLink> overlay_link(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(&message) < sizeof(ifinfomsg))
    return std::nullopt;
  const auto attributes = Attributes::of(message, sizeof(ifinfomsg));
  const auto info = attributes.nested(IFLA_LINKINFO);
  const auto name = attributes.interface(IFLA_IFNAME);
  if (!name || info.text(IFLA_INFO_KIND) != "vxlan") return std::nullopt;
  const auto data = info.nested(IFLA_INFO_DATA);
  auto outer = data.address(IFLA_VXLAN_LOCAL, Family::v4);
  if (!outer) outer = data.address(IFLA_VXLAN_LOCAL6, Family::v6);
  // Without an own address the kernel takes the family of the other end, and IPv4 without that.
  if (!outer) outer = IpAddress::any(data.has(IFLA_VXLAN_GROUP6) ? Family::v6 : Family::v4);
  return OverlayLink{*name, attributes.u32(IFLA_MTU).value_or(0), *outer};
}

}  // namespace

Result<std::vector<OverlayLink>> overlay_links() {
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return std::unexpected(std::move(socket.error()));
  std::vector<OverlayLink> out;
  Message ask(RTM_GETLINK, NLM_F_DUMP);
  ask.extra<ifinfomsg>().ifi_family = AF_UNSPEC;
  ask.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  auto dumped = socket->dump(
      ask, [&] { out.clear(); },
      [&](const nlmsghdr& message) {
        if (auto link = overlay_link(message)) out.push_back(std::move(*link));
      });
  if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading links"));
  return out;
}

}  // namespace oceanid::routing
