#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>
#include <vector>

#include <linux/rtnetlink.h>

namespace oceanid::routing {
namespace {

std::uint8_t family_number(Family family) {
  return family == Family::v4 ? AF_INET : AF_INET6;
}

std::uint8_t type_number(RouteType type) {
  switch (type) {
    case RouteType::unicast:
      return RTN_UNICAST;
    case RouteType::unreachable:
      return RTN_UNREACHABLE;
    case RouteType::blackhole:
      return RTN_BLACKHOLE;
    case RouteType::local:
      return RTN_LOCAL;
  }
  return RTN_UNSPEC;
}

std::optional<RouteType> type_of(std::uint8_t number) {
  if (number == RTN_UNICAST) return RouteType::unicast;
  if (number == RTN_UNREACHABLE) return RouteType::unreachable;
  if (number == RTN_BLACKHOLE) return RouteType::blackhole;
  if (number == RTN_LOCAL) return RouteType::local;
  return std::nullopt;
}

std::uint16_t flags_of(RouteAction action) {
  switch (action) {
    case RouteAction::add:
      return NLM_F_CREATE | NLM_F_EXCL;
    case RouteAction::replace:
      return NLM_F_CREATE | NLM_F_REPLACE;
    case RouteAction::remove:
      return 0;
  }
  return 0;
}

void put_gateway(Message& message, const Route& route) {
  if (!route.gateway) return;
  if (route.gateway->family() == route.family) {
    message.put(RTA_GATEWAY, route.gateway->bytes());
    return;
  }
  // rtvia: the family (16 bits), then the address; IPv4 by way of an IPv6 next hop (RFC 5549)
  const auto family = std::bit_cast<std::array<std::uint8_t, 2>>(
      static_cast<std::uint16_t>(family_number(route.gateway->family())));
  std::vector<std::uint8_t> via(family.begin(), family.end());
  std::ranges::copy(route.gateway->bytes(), std::back_inserter(via));
  message.put(RTA_VIA, via);
}

std::optional<IpAddress> decode_gateway(const Attributes& attributes, Family family) {
  if (auto gateway = attributes.address(RTA_GATEWAY, family)) return gateway;
  const auto via = attributes.bytes(RTA_VIA);
  constexpr std::size_t length = 18;  // 2 + an IPv6 address
  if (via.size() != length) return std::nullopt;
  std::array<std::uint8_t, 16> address{};
  std::copy(via.begin() + 2, via.end(), address.begin());
  return IpAddress::v6(address);
}

}  // namespace

Message encode_route(RouteAction action, const Route& route, std::uint32_t device) {
  const bool removes = action == RouteAction::remove;
  Message message(removes ? RTM_DELROUTE : RTM_NEWROUTE, flags_of(action));
  auto& head = message.extra<rtmsg>();
  head.rtm_family = family_number(route.family);
  head.rtm_dst_len = static_cast<std::uint8_t>(route.destination.length());
  head.rtm_table = route.table < 256 ? static_cast<std::uint8_t>(route.table) : RT_TABLE_UNSPEC;
  // What others put into our tables goes, too: the kernel compares no protocol when none is given.
  head.rtm_protocol = removes ? RTPROT_UNSPEC : route_protocol;
  head.rtm_type = type_number(route.type);
  const bool on_link = route.type == RouteType::unicast && !route.gateway;
  head.rtm_scope = on_link                          ? RT_SCOPE_LINK
                   : route.type == RouteType::local ? RT_SCOPE_HOST
                                                    : RT_SCOPE_UNIVERSE;
  if (removes) head.rtm_scope = RT_SCOPE_NOWHERE;  // any
  if (route.gateway && route.on_link) head.rtm_flags |= RTNH_F_ONLINK;

  if (route.destination.length() > 0) message.put(RTA_DST, route.destination.address().bytes());
  message.put_u32(RTA_TABLE, route.table);
  message.put_u32(RTA_PRIORITY, route.metric);
  if (device != 0) message.put_u32(RTA_OIF, device);
  put_gateway(message, route);
  if (removes)
    return message;  // table, prefix, metric and next hop name it; the rest need not match
  if (route.source) message.put(RTA_PREFSRC, route.source->bytes());
  if (route.mtu) {
    nlattr* metrics = message.begin_nested(RTA_METRICS);
    message.put_u32(RTAX_MTU, *route.mtu);
    message.end_nested(metrics);
  }
  return message;
}

std::optional<DecodedRoute> decode_route(const nlmsghdr& message) {
  if ((message.nlmsg_type != RTM_NEWROUTE && message.nlmsg_type != RTM_DELROUTE) ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(rtmsg))
    return std::nullopt;
  const auto& head = *static_cast<const rtmsg*>(mnl_nlmsg_get_payload(&message));
  const auto type = type_of(head.rtm_type);
  if ((head.rtm_family != AF_INET && head.rtm_family != AF_INET6) || !type ||
      (head.rtm_flags & RTM_F_CLONED) != 0)
    return std::nullopt;
  const auto attributes = Attributes::of(message, sizeof(rtmsg));

  DecodedRoute out;
  Route& route = out.route;
  out.protocol = head.rtm_protocol;
  route.family = head.rtm_family == AF_INET ? Family::v4 : Family::v6;
  route.type = *type;
  route.table = attributes.u32(RTA_TABLE).value_or(head.rtm_table);
  route.metric = attributes.u32(RTA_PRIORITY).value_or(0);
  route.destination = Prefix::any(route.family);
  if (head.rtm_dst_len > 0) {
    const auto address = attributes.address(RTA_DST, route.family);
    if (!address || head.rtm_dst_len > address->bits()) return std::nullopt;
    route.destination = network_of(*address, head.rtm_dst_len);
  }
  route.source = attributes.address(RTA_PREFSRC, route.family);
  if (refuses(*type)) return out;  // IPv6 shows lo as the device here
  out.device = attributes.u32(RTA_OIF).value_or(0);
  route.gateway = decode_gateway(attributes, route.family);
  route.on_link = route.gateway && (head.rtm_flags & RTNH_F_ONLINK) != 0;
  if (const auto mtu = attributes.nested(RTA_METRICS).u32(RTAX_MTU)) route.mtu = *mtu;
  return out;
}

Message encode_route_dump(Family family, std::uint8_t protocol, std::uint32_t table) {
  Message message(RTM_GETROUTE, NLM_F_DUMP);
  auto& head = message.extra<rtmsg>();
  head.rtm_family = family_number(family);
  head.rtm_protocol = protocol;
  if (table != 0) message.put_u32(RTA_TABLE, table);
  return message;
}

}  // namespace oceanid::routing
