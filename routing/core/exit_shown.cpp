#include "routing/core/exit_shown.hpp"

#include "routing/core/special_ranges.hpp"

#include <algorithm>
#include <string_view>
#include <variant>
#include <vector>

namespace oceanid::routing {
namespace {

// As far as the rules fix it (nft_nat.cpp).
struct Translation {
  bool somehow = true;          // false: no client's packet leaves in this family
  std::optional<IpAddress> to;  // none: not known, or several
};

Translation fixed(const std::vector<IpAddress>& addresses, Family family) {
  const auto first = std::ranges::find(addresses, family, &IpAddress::family);
  if (first == addresses.end()) return {false, std::nullopt};
  return {true, *first};
}

// The kernel chooses among several by what is near the next hop.
std::optional<IpAddress> only_address(const LinkFacts& uplink, Family family) {
  const auto global = [family](const AddressFacts& address) {
    return !address.link_local && address.local.address.family() == family;
  };
  if (std::ranges::count_if(uplink.addresses, global) != 1) return std::nullopt;
  return std::ranges::find_if(uplink.addresses, global)->local.address;
}

Translation translation(const Snat& snat, const LinkFacts& uplink, Family family) {
  if (const auto* address = std::get_if<IpAddress>(&snat)) return fixed({*address}, family);
  if (const auto* list = std::get_if<SnatList>(&snat)) return fixed(*list, family);
  if (std::holds_alternative<SnatAuto>(snat))
    if (const auto source = primary_address(uplink, family)) return {true, source};
  return {true, only_address(uplink, family)};
}

// Something beyond the exit translates it once more: private, or an address that a CLAT or a
// DS-Lite tunnel has on its inner side (RFC 7335), or of a laboratory (RFC 2544).
bool is_translated_again(const IpAddress& address) {
  constexpr std::string_view inner[] = {"192.0.0.0/24", "198.18.0.0/15"};
  const Prefix host = Prefix::host(address);
  return is_private(host) || std::ranges::any_of(inner, [&](std::string_view range) {
           return Prefix::parse(range).value().contains(host);
         });
}

// An address that the world can see is what it sees; behind another translation the operator knows
// better.
std::optional<IpAddress> shown(const ServeExitSettings& serve, const LinkFacts& uplink,
                               Family family) {
  if (std::holds_alternative<SnatMap>(serve.snat)) return std::nullopt;  // each client's own
  const Translation found = translation(serve.snat, uplink, family);
  if (!found.somehow) return std::nullopt;
  if (found.to && !is_translated_again(*found.to)) return found.to;
  const auto said = std::ranges::find(serve.addresses, family, &IpAddress::family);
  return said == serve.addresses.end() ? std::nullopt : std::optional(*said);
}

}  // namespace

ExitShown shown_by_exit(const ServeExitSettings& serve, const LinkFacts* uplink) {
  ExitShown out;
  if (uplink == nullptr) return out;
  // Fixed addresses may stand elsewhere on the node, or be routed to it.
  const bool by_uplink = std::holds_alternative<SnatAuto>(serve.snat) ||
                         std::holds_alternative<SnatMasquerade>(serve.snat);
  const bool addressed =
      primary_address(*uplink, Family::v4) || primary_address(*uplink, Family::v6);
  out.serves = uplink->up && uplink->carrier && (addressed || !by_uplink);
  out.ipv4 = shown(serve, *uplink, Family::v4);
  out.ipv6 = shown(serve, *uplink, Family::v6);
  return out;
}

}  // namespace oceanid::routing
