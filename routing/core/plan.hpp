#pragma once
// The desired network state as a function of the configuration and of what is known about the host.
// Pure: equal inputs give equal states; any thread.
//
// What a switch of the active exit changes is one route. Rules, nft text and sysctls depend on
// neither the active exit (but without a kill switch) nor on which links exist. `Inputs::links`
// should therefore list every tunnel link that the configuration asks for, up or not.
//
// With the kill switch everything that arrives by `routing.interfaces` is caught, whatever source
// it carries: a pod that forges a source must not get past `sources`.

#include "routing/core/model.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::routing {

NetworkState plan(const Inputs& inputs);

// Whether the state makes the kernel forward IPv6.
bool forwards_ipv6(const Inputs& inputs);

// The kill switch alone, for `oceanid guard`: no links, no exit, everything that pods send is
// refused but what bypasses the exits.
NetworkState guard_plan(const Inputs& inputs);

// The connection by which the operator asks for a change: it must survive the change.
struct ControlConnection {
  IpAddress from;  // the operator
  IpAddress to;    // this node, as the operator reaches it
  // Of the variable SSH_CONNECTION, "CLIENT PORT SERVER PORT" (sshd(8)). None: it is no such thing.
  static std::optional<ControlConnection> parse(std::string_view ssh_connection);
  bool operator==(const ControlConnection&) const = default;
};

// Contradictions between the configuration and the host, one sentence each with its remedy. Each of
// them would take traffic of this node, or of its operator, into a tunnel or to nowhere.
std::vector<std::string> conflicts(const Inputs& inputs,
                                   const std::optional<ControlConnection>& control = std::nullopt);

// Printable and in a stable order: what `plan --json`'s reader and the golden tests see.
std::string to_text(const NetworkState& state);

}  // namespace oceanid::routing
