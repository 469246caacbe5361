#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

namespace oceanid::routing {

std::optional<LinkFacts> decode_link(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWLINK || mnl_nlmsg_get_payload_len(&message) < sizeof(ifinfomsg))
    return std::nullopt;
  const auto& head = *static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&message));
  const auto attributes = Attributes::of(message, sizeof(ifinfomsg));
  auto name = attributes.interface(IFLA_IFNAME);
  if (!name || head.ifi_index <= 0) return std::nullopt;
  LinkFacts out;
  out.name = std::move(*name);
  out.index = static_cast<std::uint32_t>(head.ifi_index);
  out.up = (head.ifi_flags & IFF_UP) != 0;
  out.carrier = (head.ifi_flags & IFF_LOWER_UP) != 0;
  out.loopback = (head.ifi_flags & IFF_LOOPBACK) != 0;
  out.mtu = attributes.u32(IFLA_MTU).value_or(0);
  const auto kind = attributes.nested(IFLA_LINKINFO);
  out.kind = kind.text(IFLA_INFO_KIND);
  // Bridges can ask for it one by one; the sysctls ask for all (kernel_linux.cpp).
  const auto bridge = kind.nested(IFLA_INFO_DATA);
  out.tracked = out.kind == "bridge" && (bridge.u8(IFLA_BR_NF_CALL_IPTABLES).value_or(0) != 0 ||
                                         bridge.u8(IFLA_BR_NF_CALL_IP6TABLES).value_or(0) != 0);
  return out;
}

Message encode_set_link(std::uint32_t device, std::optional<unsigned> mtu, std::optional<bool> up) {
  Message message(RTM_NEWLINK, 0);
  auto& head = message.extra<ifinfomsg>();
  head.ifi_family = AF_UNSPEC;
  head.ifi_index = static_cast<int>(device);
  if (up) {
    head.ifi_change = IFF_UP;
    head.ifi_flags = *up ? IFF_UP : 0U;
  }
  if (mtu) message.put_u32(IFLA_MTU, *mtu);
  return message;
}

std::optional<DecodedAddress> decode_address(const nlmsghdr& message) {
  if ((message.nlmsg_type != RTM_NEWADDR && message.nlmsg_type != RTM_DELADDR) ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(ifaddrmsg))
    return std::nullopt;
  const auto& head = *static_cast<const ifaddrmsg*>(mnl_nlmsg_get_payload(&message));
  if (head.ifa_family != AF_INET && head.ifa_family != AF_INET6) return std::nullopt;
  const Family family = head.ifa_family == AF_INET ? Family::v4 : Family::v6;
  const auto attributes = Attributes::of(message, sizeof(ifaddrmsg));
  // IFA_ADDRESS is the other end of a point-to-point link, IFA_LOCAL ours; alone, it is ours.
  const auto other = attributes.address(IFA_ADDRESS, family);
  const auto local = attributes.has(IFA_LOCAL) ? attributes.address(IFA_LOCAL, family) : other;
  if (!local || head.ifa_prefixlen > local->bits()) return std::nullopt;
  DecodedAddress out;
  out.device = head.ifa_index;
  out.facts.local = InterfaceAddress{*local, head.ifa_prefixlen};
  out.facts.network = network_of(other.value_or(*local), head.ifa_prefixlen);
  out.facts.link_local = head.ifa_scope >= RT_SCOPE_LINK;
  const std::uint32_t flags = attributes.u32(IFA_FLAGS).value_or(head.ifa_flags);
  // IFA_F_TEMPORARY is IFA_F_SECONDARY's number in IPv6
  out.facts.secondary = (flags & (IFA_F_SECONDARY | IFA_F_DEPRECATED)) != 0;
  return out;
}

Message encode_address(bool add, std::uint32_t device, const InterfaceAddress& address) {
  Message message(add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
  auto& head = message.extra<ifaddrmsg>();
  head.ifa_family = address.address.is_v4() ? AF_INET : AF_INET6;
  head.ifa_prefixlen = static_cast<std::uint8_t>(address.length);
  head.ifa_scope = RT_SCOPE_UNIVERSE;
  head.ifa_index = device;
  // The address is ours alone on a tunnel: waiting for duplicates would only make it unusable for a
  // second.
  if (!address.address.is_v4()) head.ifa_flags = IFA_F_NODAD;
  message.put(IFA_LOCAL, address.address.bytes());
  message.put(IFA_ADDRESS, address.address.bytes());
  return message;
}

}  // namespace oceanid::routing
