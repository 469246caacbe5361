// What nearly every forwarded packet is: part of a connection that was let pass, on a way that it
// may take. These lines come before the ones that ask it everything, and let nothing pass that
// those would refuse.
//
// Not asked again is what the packets of an established connection cannot change: their source.
// Asked is what may have changed since: where the packet goes out, how it is translated, and
// whether an exit still forwards there. The last is a search of two sets, and most of the internet
// is spared it: nothing of its first octet is refused.

#include "routing/core/nft_text.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::routing::detail {
namespace {

constexpr unsigned multicast = 224;      // and everything above is refused
constexpr std::size_t most_octets = 64;  // of the list in one line

std::vector<std::string> refused_octets(const Scene& scene) {
  std::set<unsigned> octets;
  for (const Prefix& prefix : of_family(scene.refused, Family::v4)) {
    const unsigned first = prefix.address().bytes().front();
    const unsigned count = prefix.length() < 8 ? 1U << (8 - prefix.length()) : 1;
    for (unsigned octet = first; octet < std::min(first + count, multicast); ++octet)
      octets.insert(octet);
  }
  std::vector<std::string> out;
  for (const unsigned octet : octets)
    out.push_back(fmt::format("{}.0.0.0", octet));
  return out;
}

}  // namespace

// The IPv4 addresses that an exit's clients are seen with; empty when the plan does not know them.
std::vector<IpAddress> NftParts::seen_with() const {
  const Snat& snat = scene.in.serve_exit->snat;
  std::set<IpAddress> addresses;
  if (const auto* address = std::get_if<IpAddress>(&snat)) addresses.insert(*address);
  if (const auto* list = std::get_if<SnatList>(&snat)) addresses.insert(list->begin(), list->end());
  if (const auto* map = std::get_if<SnatMap>(&snat))
    for (const auto& [source, address] : *map)
      addresses.insert(address);
  if (std::holds_alternative<SnatAuto>(snat) && scene.in.uplink_source4)
    addresses.insert(*scene.in.uplink_source4);
  std::erase_if(addresses, [](const IpAddress& one) { return !one.is_v4(); });
  return {addresses.begin(), addresses.end()};
}

void NftParts::carried_on() {
  if (scene.steering || scene.in.serve_exit)
    out.line(fmt::format("ct direction reply {} ct state established jump answers",
                         has_bit(scene.marks.carried, true)));
  if (!scene.in.serve_exit || scene.pins) return;
  const std::vector<IpAddress> addresses = seen_with();
  const std::vector<std::string> octets = refused_octets(scene);
  if (addresses.empty() || octets.size() > most_octets) return;
  out.line(fmt::format(
      "ct state established ct reply ip daddr {} oifname \"{}\" "
      "ip daddr < {}.0.0.0 ip daddr & 255.0.0.0 != {{ {} }} return",
      one_of(addresses), scene.in.serve_exit->uplink.str(), multicast, fmt::join(octets, ", ")));
}

// To whoever asked: a pod, or an exit's client, by the way that clients' answers come.
void NftParts::answers() {
  if (!scene.steering && !scene.in.serve_exit) return;
  out.begin("answers");
  if (scene.steering) out.line("oifname " + names(scene.pods) + " accept");
  if (scene.in.serve_exit && !scene.tunnels.empty())
    out.line(
        fmt::format("iifname \"{}\" oifname \"oc-*\" accept", scene.in.serve_exit->uplink.str()));
  out.end();
}

}  // namespace oceanid::routing::detail
