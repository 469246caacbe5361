#pragma once
// Rules, routes, links and addresses as rtnetlink messages and back. No I/O. Written by hand
// because libnl's rule object lacks what we must read back exactly (detached names, unresolved
// gotos, the port ranges of other versions) and because a codec of our own is tested and fuzzed
// without a kernel.

#include "routing/core/facts.hpp"
#include "routing/core/model.hpp"
#include "routing/edge/netlink_message.hpp"

#include <cstdint>
#include <optional>

namespace oceanid::routing {

Message encode_add_rule(const Rule& rule);
Message encode_delete_rule(const Rule& rule);

struct DecodedRule {
  Rule rule;
  bool exact = true;  // false: the rule matches on something that Rule cannot say
};
// None when the message is no rule, or not of our protocol.
std::optional<DecodedRule> decode_rule(const nlmsghdr& message);

enum class RouteAction : std::uint8_t { add, replace, remove };
// `device` is the index of route.device, 0 without one.
Message encode_route(RouteAction action, const Route& route, std::uint32_t device);

struct DecodedRoute {
  Route route;               // without its device's name
  std::uint32_t device = 0;  // index
  std::uint8_t protocol = 0;
};
// None for what the model has no word for (local, broadcast, multicast, cloned routes).
std::optional<DecodedRoute> decode_route(const nlmsghdr& message);
// Asks for the routes of one protocol (0: of all) in one table (0: in all).
Message encode_route_dump(Family family, std::uint8_t protocol, std::uint32_t table);

std::optional<LinkFacts> decode_link(const nlmsghdr& message);  // without addresses
Message encode_set_link(std::uint32_t device, std::optional<unsigned> mtu, std::optional<bool> up);

struct DecodedAddress {
  AddressFacts facts;
  std::uint32_t device = 0;
};
std::optional<DecodedAddress> decode_address(const nlmsghdr& message);
Message encode_address(bool add, std::uint32_t device, const InterfaceAddress& address);

}  // namespace oceanid::routing
