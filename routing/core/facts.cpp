#include "routing/core/facts.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace oceanid::routing {

const LinkFacts* find_link(const HostFacts& facts, const IfName& name) {
  const auto found = std::ranges::find(facts.links, name, &LinkFacts::name);
  return found == facts.links.end() ? nullptr : &*found;
}

const DefaultRoute* find_default(const HostFacts& facts, Family family,
                                 const std::optional<IfName>& device) {
  const auto found = std::ranges::find_if(facts.defaults, [&](const DefaultRoute& route) {
    return route.family == family && (!device || route.device == *device);
  });
  return found == facts.defaults.end() ? nullptr : &*found;
}

std::optional<IpAddress> primary_address(const LinkFacts& link, Family family) {
  const auto found = std::ranges::find_if(link.addresses, [&](const AddressFacts& facts) {
    return facts.local.address.family() == family && !facts.link_local && !facts.secondary;
  });
  if (found == link.addresses.end()) return std::nullopt;
  return found->local.address;
}

std::optional<IfName> other_forwarder(const HostFacts& facts) {
  constexpr std::array<std::string_view, 4> kinds{"bridge", "vxlan", "ipvlan", "macvlan"};
  constexpr std::array<std::string_view, 3> prefixes{"cali", "lxc", "cilium"};  // routed veth pairs
  const auto forwards = [&](const LinkFacts& link) {
    return link.up && (std::ranges::find(kinds, link.kind) != kinds.end() ||
                       std::ranges::any_of(prefixes, [&](std::string_view prefix) {
                         return link.name.str().starts_with(prefix);
                       }));
  };
  const auto found = std::ranges::find_if(facts.links, forwards);
  if (found == facts.links.end()) return std::nullopt;
  return found->name;
}

}  // namespace oceanid::routing
