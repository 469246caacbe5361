#pragma once
// The kernel's network state as a value: what we want it to be (`NetworkState`) and what the plan
// is computed from (`Inputs`). Everything here is pure and comparable; edge/ makes the kernel
// match.

#include "gateway/base/net_types.hpp"
#include "routing/core/named_set.hpp"
#include "routing/core/settings.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace oceanid::routing {

inline constexpr std::uint8_t route_protocol =
    131;  // RTPROT of every route and rule of ours ("oceanid")
inline constexpr std::string_view nft_table = "oceanid";
inline constexpr std::string_view offload_table = "oceanid_flow";

// Of serve_exit's snat addresses of one family in order, from 1 on: the set of destinations
// (address . protocol . port) that take this one because the one before has no ports left.
inline std::string spill_set(Family family, std::size_t number) {
  return "spill" + std::to_string(number) + (family == Family::v4 ? "_4" : "_6");
}

// ---- what the plan is computed from -----------------------------------------------------------

struct TunnelPeer {
  std::string name;
  std::vector<IpAddress> addresses;
  std::vector<Prefix> networks;
  std::optional<unsigned> mtu;  // route MTU of a peer on the hub
  bool operator==(const TunnelPeer&) const = default;
};

// A WireGuard interface that the tunnel side made: oc-<peer> (we dial) or oc-hub (they dial us).
struct TunnelLink {
  IfName name;
  bool hub = false;
  unsigned mtu = 0;
  std::vector<TunnelPeer> peers;
  bool set_df = false;  // its encrypted packets carry no DF of their own, and are to have one
  bool operator==(const TunnelLink&) const = default;
};

struct ExitPath {
  std::string name;
  IfName device;  // oc-<peer>, the uplink (self), or a foreign interface
  bool self = false;
  bool tunnel = false;                // device is one of Inputs::links
  bool present = false;               // the device exists now
  bool usable = true;                 // it is proven; what is pinned to it is refused when not
  std::optional<IpAddress> gateway4;  // next hops, for self and interface exits
  std::optional<IpAddress> gateway6;
  bool ipv4 = true;
  bool ipv6 = false;
  bool operator==(const ExitPath&) const = default;
};

// A listening socket of ours that the input chain guards: only `clients` may reach `port`.
struct GuardedPort {
  std::uint16_t port = 0;
  std::vector<Prefix> clients;
  std::optional<IpAddress> address;  // none: on every address of the node
  bool operator==(const GuardedPort&) const = default;
};

// A device that exists now and between which and another one established connections may skip the
// rule set (nft_offload.cpp).
struct FastDevice {
  enum class Kind : std::uint8_t {
    pods,
    exit,    // the tunnel to an exit
    hub,     // clients of the exit that this node is
    uplink,  // where those leave, and pods whose exit is this node, translated
  };
  IfName name;
  std::uint32_t index = 0;  // another one: the device was made anew, and has lost its hook
  Kind kind = Kind::exit;
  bool tracked = false;  // as LinkFacts::tracked
  bool operator==(const FastDevice&) const = default;
};

// What a transparent listener takes: TCP from `sources` to `ports` goes to its port `to`.
struct Interception {
  std::vector<Prefix> sources;
  std::vector<std::uint16_t> ports;
  std::uint16_t to = 0;
  bool tproxy = false;  // with its own destination, not translated
  bool operator==(const Interception&) const = default;
};

// What peers reach beside tunnel_listen where UDP is blocked for them.
struct TransportPorts {
  std::uint16_t tls = 0;        // TCP
  std::uint16_t responder = 0;  // UDP: says whether UDP passes
  bool operator==(const TransportPorts&) const = default;
};

struct Inputs {
  std::optional<RoutingSettings> routing;
  std::optional<ServeExitSettings> serve_exit;
  std::vector<IpAddress> tunnel_addresses;  // this node's own, on every oc- interface
  std::vector<TunnelLink> links;
  bool overlay = false;
  std::uint16_t tunnel_listen = 0;  // 0: nobody dials us
  std::uint16_t probe_port = 0;
  std::optional<TransportPorts> transport;    // none: peers have UDP only
  std::vector<ExitPath> exits;                // in configuration order: table + 1 + i
  std::optional<std::size_t> active;          // index of the exit that carries routed traffic
  std::optional<std::size_t> draining;        // whose connections from before a switch go on
  std::vector<SocketAddress> peer_endpoints;  // resolved; always bypassed
  std::vector<Prefix> on_link;             // networks on the node's own links (not ours, not cni)
  std::vector<IpAddress> local_addresses;  // of the node, on any interface but ours
  std::vector<GuardedPort> guarded_ports;
  std::vector<Interception> interceptions;
  std::vector<IfName> tracked_bridges;  // that bring these, and are as LinkFacts::tracked says
  std::optional<IpAddress>
      uplink_source4;  // serve_exit.uplink's primary addresses, for `snat: auto`
  std::optional<IpAddress> uplink_source6;
  std::vector<FastDevice> fast;  // empty: every packet meets the rule set
  std::vector<IfName>
      uplinks;  // devices of main's default routes; pods' cluster traffic never leaves there
  bool operator==(const Inputs&) const = default;
};

// ---- the desired state ------------------------------------------------------------------------

struct LinkState {
  IfName name;
  unsigned mtu = 0;
  std::vector<InterfaceAddress> addresses;
  bool operator==(const LinkState&) const = default;
};

struct Lookup {
  std::uint32_t table = 0;
  bool specific = false;  // the table's default route does not count (suppress_prefixlength 0)
  auto operator<=>(const Lookup&) const = default;
};
struct Goto {
  std::uint32_t priority = 0;
  auto operator<=>(const Goto&) const = default;
};
struct Nop {
  auto operator<=>(const Nop&) const = default;
};
struct Unreachable {
  auto operator<=>(const Unreachable&) const = default;
};
struct Blackhole {
  auto operator<=>(const Blackhole&) const = default;
};
using RuleAction = std::variant<Lookup, Goto, Nop, Unreachable, Blackhole>;

struct Rule {  // carries route_protocol (FRA_PROTOCOL)
  Family family = Family::v4;
  std::uint32_t priority = 0;
  std::optional<Prefix> from;
  std::optional<Prefix> to;
  std::optional<IfName> iif;
  std::optional<IfName> oif;
  std::optional<Mark> mark;
  std::optional<std::uint8_t> ip_protocol;  // FRA_IP_PROTO
  std::optional<std::uint16_t> destination_port;
  RuleAction action;
  auto operator<=>(const Rule&) const = default;
};

enum class RouteType : std::uint8_t { unicast, unreachable, blackhole, local };

inline bool refuses(RouteType type) {
  return type == RouteType::unreachable || type == RouteType::blackhole;
}

struct Route {  // carries route_protocol
  Family family = Family::v4;
  std::uint32_t table = 0;
  Prefix destination;
  RouteType type = RouteType::unicast;
  std::uint32_t metric = 0;
  std::optional<IfName> device;
  std::optional<IpAddress> gateway;
  bool on_link = false;  // gateway is reachable though no route says so
  std::optional<unsigned> mtu;
  std::optional<IpAddress> source;  // preferred source
  auto operator<=>(const Route&) const = default;
};

struct Sysctl {
  std::string path;  // below /proc/sys: "net/ipv4/conf/oc-tethys/rp_filter"
  std::string value;
  bool required = true;         // false: a value that cannot be written is only reported
  std::string instead_of = {};  // only this value is changed; empty: any other one
  bool operator==(const Sysctl&) const = default;
};

struct NetworkState {
  std::vector<LinkState> links;  // devices exist already (tunnel side); we set MTU, addresses, up
  std::vector<Rule> rules;
  std::vector<Route> routes;
  NftTables nft;        // structure as text, elements of the named sets as values
  std::string offload;  // `table inet oceanid_flow` as text; empty: none
  std::vector<Sysctl> sysctls;
  bool operator==(const NetworkState&) const = default;
};

}  // namespace oceanid::routing
