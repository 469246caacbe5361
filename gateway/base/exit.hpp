#pragma once
// An exit as configured (`exits:`) and as it stands now. The roof keeps one ExitTable, made from
// the tunnel side's findings, and hands the same value to the routing side (which default route)
// and to the proxy side (which device a new connection is bound to). Plain values; no threading of
// their own.

#include "gateway/base/net_types.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace oceanid {

// Exactly one of peer, self, interface names how the exit is reached.
struct ExitSettings {
  std::string name;
  std::optional<std::string> peer;        // tunnel.peers[].name
  bool self = false;                      // this node's own uplink (serve_exit.uplink)
  std::optional<IfName> interface;        // an interface that is not ours
  std::optional<IpAddress> gateway;       // next hop on `interface`; none: point to point
  std::vector<IpAddress> addresses;       // what the world must see
  std::optional<std::uint32_t> priority;  // less is better; none: behind the one before it
  bool operator==(const ExitSettings&) const = default;
};

struct ExitState {
  std::string name;
  std::optional<IfName> device;  // what a socket is bound to; none while the link does not exist
  bool usable = false;           // proven by the tunnel side
  bool reserve = false;          // usable, but only where nothing better is: it has failed lately
  bool ipv4 = false;             // families that the exit can carry
  bool ipv6 = false;
  std::vector<IpAddress> addresses;
  std::string reason;  // one phrase for a human: why it is (not) usable
  bool operator==(const ExitState&) const = default;
};

// The exits that somebody is held to, the first usable one counts; none: whichever is selected.
using ExitPin = std::optional<std::vector<std::string>>;

struct ExitTable {
  std::vector<ExitState> exits;       // as configured
  std::optional<std::size_t> active;  // index of the selected exit
  bool operator==(const ExitTable&) const = default;
};

}  // namespace oceanid
