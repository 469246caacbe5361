// What nearly every forwarded packet is: part of a connection that was let pass, on a way that it
// may take. These lines come before the ones that ask it everything, and let nothing pass that
// those would refuse.
//
// A connection that is translated to an exit's address was let pass once, to the place that it is
// bound for. What may have changed is asked: its source, whose mark is given anew to every packet
// (nft_text.cpp), where it goes out, and whether the exit still forwards there. The last is a
// search of up to four sets, and most of the internet is spared it: nothing of its first octet is
// refused.

#include "routing/core/nft_text.hpp"
#include "routing/core/special_ranges.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::routing::detail {
namespace {

constexpr unsigned multicast = 224;      // and everything above is refused
constexpr std::size_t most_octets = 64;  // of the list in one line

// In the text and not in a set of its own, which would cost half as much again: the text changes
// when the node has a network in an octet that had none. An own address is never forwarded to.
std::vector<std::string> refused_octets(const Scene& scene) {
  Prefixes refused = special_purpose_ranges(Family::v4);
  std::ranges::remove_copy_if(scene.in.on_link, std::back_inserter(refused), &Prefix::is_host);
  refused.insert(refused.end(), scene.cluster.begin(), scene.cluster.end());
  refused.insert(refused.end(), scene.overlay.begin(), scene.overlay.end());
  std::set<unsigned> octets;
  for (const Prefix& prefix : of_family(refused, Family::v4)) {
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
  // A map names some of the pods, and the mark does not tell which.
  if (scene.has_self && std::holds_alternative<SnatMap>(scene.in.serve_exit->snat)) return;
  const std::vector<IpAddress> addresses = seen_with();
  const std::vector<std::string> octets = refused_octets(scene);
  if (addresses.empty() || octets.size() > most_octets) return;
  out.line(
      fmt::format("ct reply ip daddr {} {} oifname \"{}\" ip daddr < {}.0.0.0 ip daddr & 255.0.0.0 "
                  "!= {{ {} }} return",
                  one_of(addresses), has_bit(scene.marks.carried, false),
                  scene.in.serve_exit->uplink.str(), multicast, fmt::join(octets, ", ")));
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
