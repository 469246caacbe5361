#pragma once
// From configuration and observed facts to what the routing plan is computed from. Pure: the one
// place where the tunnel side's words become the routing side's.

#include "gateway/base/exit.hpp"
#include "gateway/config/config.hpp"
#include "routing/core/facts.hpp"
#include "routing/core/model.hpp"
#include "routing/core/plan.hpp"
#include "tunnel/edge/manager.hpp"

#include <optional>
#include <vector>

namespace oceanid::process {

routing::Inputs routing_inputs(const Config& config, const routing::HostFacts& facts,
                               const std::vector<tunnel::TunnelStatus>& tunnels,
                               const std::vector<SocketAddress>& peer_endpoints,
                               const ExitTable& exits);

// Whether both ask the same of the kernel, as far as the configuration decides: what remains
// differs in the proxy's own business only.
bool same_kernel_state(const Config& a, const Config& b);

// The tunnels as they will be, before any device exists: names, MTU, peers.
std::vector<tunnel::TunnelStatus> planned_tunnels(const Config& config,
                                                  const std::string& backend = {});
// The same at a start, before they are ours: whose links a former life has left carry on as they
// are, so that the start interrupts nothing.
std::vector<tunnel::TunnelStatus> found_tunnels(const Config& config,
                                                const routing::HostFacts& facts);

// Endpoints that are written as addresses.
std::vector<SocketAddress> literal_endpoints(const Config& config);

// The mark on WireGuard's own packets (bit 4 inside routing.mark's mask); zero without routing.
Mark underlay_mark(const Config& config);

// Whether traffic of this family can go through the tunnel to `peer`: both ends have an address of
// it.
bool carries(const Config& config, const std::string& peer, Family family);

// Addresses of the node on links that are not ours: never a destination for strangers.
std::vector<IpAddress> local_addresses_of(const routing::HostFacts& facts);

// The SSH session that this process was started from, when there is one.
std::optional<routing::ControlConnection> own_session();

bool is_our_link(const IfName& name);

}  // namespace oceanid::process
