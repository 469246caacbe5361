#pragma once
// What the operator says about routing: `routing:` and `serve_exit:` of the configuration (DESIGN
// section 4) as plain values, already validated.

#include "gateway/base/net_types.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace oceanid::routing {

enum class Ipv6Mode : std::uint8_t { block, exit, ignore };

struct RoutingSettings {
  std::vector<Prefix> sources;     // this node's own pods
  std::vector<IfName> interfaces;  // where they come from (cni0)
  std::vector<Prefix> bypass;
  std::vector<Prefix> nodes;         // node addresses, always bypassed
  std::vector<Prefix> destinations;  // only these leave through the exit; empty: everything
  std::vector<std::uint16_t> ports;  // empty: all
  std::optional<std::string> exit;   // pin
  Ipv6Mode ipv6 = Ipv6Mode::block;
  bool kill_switch = true;
  bool flowtable = false;
  Mark mark{0x01000000, 0x0f000000};  // bits inside the mask: 1 exempt, 2 intercepted, 4 underlay
  std::uint32_t priority = 5100;      // first of 91 rule preferences
  std::uint32_t table = 13128;        // active exit; +1+i exit i; then return, overlay, intercept
  std::chrono::milliseconds confirm{0};
  bool operator==(const RoutingSettings&) const = default;
};

struct SnatAuto {
  bool operator==(const SnatAuto&) const = default;
};
struct SnatMasquerade {
  bool operator==(const SnatMasquerade&) const = default;
};
using SnatMap = std::map<Prefix, IpAddress>;  // source → address
using Snat = std::variant<SnatAuto, SnatMasquerade, IpAddress, SnatMap>;

struct ServeExitSettings {
  IfName uplink;
  Snat snat = SnatAuto{};
  std::vector<IpAddress> addresses;  // what the world sees
  std::vector<Prefix> clients;
  std::vector<Prefix> allow;  // special-purpose or on-link ranges that clients may reach
  bool operator==(const ServeExitSettings&) const = default;
};

}  // namespace oceanid::routing
