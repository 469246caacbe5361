#pragma once
// What the operator says about routing: `routing:` and `serve_exit:` of the configuration, as plain
// values, already validated.

#include "gateway/base/net_types.hpp"
#include "gateway/base/prefix_list.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace oceanid::routing {

enum class Ipv6Mode : std::uint8_t { block, exit, ignore };

enum class Transport : std::uint8_t { tcp = 6, udp = 17 };  // IANA protocol numbers

// One line of routing.selection: what fits all that is given here takes `exit`; an empty list fits
// everything.
struct SelectionRule {
  std::vector<Prefix> sources;
  std::vector<Prefix> destinations;
  std::vector<std::uint16_t> ports;
  std::optional<Transport> protocol;  // none: with ports both, without ports every protocol
  std::string exit;                   // a name, selected_exit or no_exit
  bool operator==(const SelectionRule&) const = default;
};
inline constexpr std::string_view selected_exit = "active";
inline constexpr std::string_view no_exit = "none";
inline constexpr std::size_t most_selection_rules = 12;  // two rule preferences each

struct RoutingSettings {
  std::vector<Prefix> sources;     // this node's own pods
  std::vector<IfName> interfaces;  // where they come from (cni0)
  PrefixList bypass;
  // What of a long bypass list is exempted by a mark; see long_lists.hpp, which also fills them.
  PrefixList exempt4;
  PrefixList exempt6;
  bool exempts_private = false;            // some of that is no public range
  std::optional<std::string> bypass_file;  // more of both, one a line
  std::optional<std::string> destinations_file;
  std::vector<Prefix> nodes;             // node addresses, always bypassed
  PrefixList destinations;               // only these leave through the exit; empty: everything
  std::vector<std::uint16_t> ports;      // empty: all
  std::vector<SelectionRule> selection;  // asked first, in order; the first that fits counts
  std::optional<std::string> exit;       // pin
  Ipv6Mode ipv6 = Ipv6Mode::block;
  bool kill_switch = true;
  bool flowtable = false;
  Mark mark{0x01000000, 0x0f000000};  // bits inside the mask: 1 exempt, 2 intercepted, 4 underlay
  std::uint32_t priority = 5100;      // first of 91 rule preferences
  std::uint32_t table = 13128;        // active exit; +1+i exit i; then return, overlay, intercept
  std::chrono::milliseconds confirm{0};
  std::chrono::milliseconds drain{60000};  // connections from before a planned switch go on so long
  bool operator==(const RoutingSettings&) const = default;
};

struct SnatAuto {
  bool operator==(const SnatAuto&) const = default;
};
struct SnatMasquerade {
  bool operator==(const SnatMasquerade&) const = default;
};
using SnatMap = std::map<Prefix, IpAddress>;  // source → address
// In order: the others take over where the one before runs out of ports towards a destination.
using SnatList = std::vector<IpAddress>;
using Snat = std::variant<SnatAuto, SnatMasquerade, IpAddress, SnatMap, SnatList>;

struct ServeExitSettings {
  IfName uplink;
  Snat snat = SnatAuto{};
  std::vector<IpAddress> addresses;  // what the world sees
  std::vector<Prefix> clients;
  std::vector<Prefix> allow;     // special-purpose or on-link ranges that clients may reach
  bool accounting = true;        // bytes, flows and destinations of every client, from conntrack
  bool flowtable = false;        // clients' established connections skip the rule set
  std::uint32_t per_client = 0;  // connections of one client at once; 0: no limit
  bool operator==(const ServeExitSettings&) const = default;
};

}  // namespace oceanid::routing
