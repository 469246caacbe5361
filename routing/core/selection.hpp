#pragma once
// Which of the pods' packets take which exit: routing.selection, then routing.destinations and
// routing.ports, as one ordered list. Rules, nft text and `oceanid explain` are all made from it.
// Pure; any thread.

#include "routing/core/settings.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::routing {

enum class Way : std::uint8_t { active, pinned, direct };

// What fits everything given here goes that way; empty lists fit everything.
struct Selector {
  std::vector<Prefix> sources;
  std::vector<Prefix> destinations;
  std::vector<std::uint16_t> ports;
  std::optional<Transport> protocol;
  Way way = Way::active;
  std::string exit;  // of a pinned one
  bool catches_all() const {
    return sources.empty() && destinations.empty() && ports.empty() && !protocol;
  }
  bool operator==(const Selector&) const = default;
};

// The last one catches everything.
std::vector<Selector> selectors_of(const RoutingSettings& settings);

struct RoutedPacket {
  IpAddress source;
  IpAddress destination;
  std::uint8_t protocol = 0;  // IANA number
  std::uint16_t port = 0;     // TCP's and UDP's destination; 0 for everything else
};

bool fits(const Selector& selector, const RoutedPacket& packet);
// Index of the first that fits.
std::size_t first_fit(const std::vector<Selector>& selectors, const RoutedPacket& packet);

// One sentence: how a packet of a pod leaves, and which key says so. `active` is the selected exit,
// empty when there is none.
std::string explain_way(const RoutingSettings& settings, const RoutedPacket& packet,
                        const std::string& active);

}  // namespace oceanid::routing
