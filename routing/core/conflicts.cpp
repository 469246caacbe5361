// What cannot be right about a configuration on this host, in the operator's words.

#include "routing/core/plan.hpp"
#include "routing/core/scene.hpp"

#include <algorithm>
#include <bit>
#include <set>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::uint32_t rule_count = 91;
constexpr std::uint32_t main_rule = 32766;
constexpr std::uint32_t last_system_table = 255;

// Flannel's device has the first address of the node's pod network and the bridge the next one;
// both belong inside `sources`.
bool is_pod_gateway(const IpAddress& address, const Prefix& source) {
  if (address == source.address()) return true;
  const auto left = address.bytes();
  const auto right = source.address().bytes();
  return std::equal(left.begin(), left.end() - 1, right.begin()) && left.back() == right.back() + 1;
}

void check_source(const Inputs& in, const Prefix& source, std::vector<std::string>& out) {
  const auto complain = [&](std::string what) {
    out.push_back(
        fmt::format("routing.sources: {} contains {}: its packets would be steered into "
                    "the tunnels; name this node's own pod network only",
                    source.to_string(), what));
  };
  for (const SocketAddress& endpoint : in.peer_endpoints)
    if (source.contains(endpoint.address))
      complain("the tunnel endpoint " + endpoint.address.to_string());
  for (const IpAddress& own : in.tunnel_addresses)
    if (source.contains(own)) complain("this node's tunnel address " + own.to_string());
  for (const IpAddress& local : in.local_addresses)
    if (source.contains(local) && !is_pod_gateway(local, source))
      complain("this node's address " + local.to_string());
  for (const Prefix& node : in.routing->nodes)
    if (source.overlaps(node)) complain("the node address " + node.to_string());
  for (const TunnelLink& link : in.links)
    for (const TunnelPeer& peer : link.peers) {
      for (const IpAddress& address : peer.addresses)
        if (source.contains(address))
          complain(fmt::format("the tunnel address {} of peer {}", address.to_string(), peer.name));
      for (const Prefix& network : peer.networks)
        if (source.overlaps(network))
          complain(fmt::format("{}, which lies behind peer {}", network.to_string(), peer.name));
    }
}

void check_numbers(const Inputs& in, std::vector<std::string>& out) {
  const RoutingSettings& numbers = *in.routing;
  const auto lowest = numbers.mark.mask & (~numbers.mark.mask + 1);
  const bool adjacent = ((numbers.mark.mask / std::max(lowest, 1U)) & 0xf) == 0xf;
  if (!adjacent)
    out.push_back(
        fmt::format("routing.mark: {} leaves no four adjacent bits; choose a mask such as "
                    "0x0f000000",
                    numbers.mark.to_string()));
  if (numbers.priority == 0 || numbers.priority + rule_count > main_rule)
    out.push_back(
        fmt::format("routing.priority: {}..{} is not between the local rule (0) and main "
                    "({}); choose 5100",
                    numbers.priority, numbers.priority + rule_count - 1, main_rule));
  if (numbers.table <= last_system_table)
    out.push_back(fmt::format(
        "routing.table: {} is reserved by the kernel; choose a number above 10000", numbers.table));
}

void check_networks(const Inputs& in, std::vector<std::string>& out) {
  std::vector<std::pair<Prefix, std::string>> seen;
  for (const TunnelLink& link : in.links)
    for (const TunnelPeer& peer : link.peers)
      for (const Prefix& network : peer.networks) {
        for (const auto& [other, owner] : seen)
          if (owner != peer.name && network.overlaps(other))
            out.push_back(
                fmt::format("tunnel.peers: {} of {} overlaps {} of {}; a network lies behind "
                            "one peer",
                            network.to_string(), peer.name, other.to_string(), owner));
        seen.emplace_back(network, peer.name);
      }
}

void check_serving(const Inputs& in, std::vector<std::string>& out) {
  for (const Prefix& client : in.serve_exit->clients) {
    for (const auto& uplink : {in.uplink_source4, in.uplink_source6})
      if (uplink && client.contains(*uplink))
        out.push_back(
            fmt::format("serve_exit.clients: {} contains the uplink's own address {}; name "
                        "the clients' networks only",
                        client.to_string(), uplink->to_string()));
    for (const SocketAddress& endpoint : in.peer_endpoints)
      if (client.contains(endpoint.address))
        out.push_back(
            fmt::format("serve_exit.clients: {} contains the tunnel endpoint {}; name the "
                        "clients' networks only",
                        client.to_string(), endpoint.address.to_string()));
  }
}

}  // namespace

std::vector<std::string> conflicts(const Inputs& inputs) {
  std::vector<std::string> out;
  if (inputs.routing) {
    for (const Prefix& source : inputs.routing->sources)
      check_source(inputs, source, out);
    check_numbers(inputs, out);
    for (const IfName& name : inputs.routing->interfaces)
      if (name.str().starts_with("oc-"))
        out.push_back(
            fmt::format("routing.interfaces: {} is a tunnel; name the pods' bridge", name.str()));
  }
  if (inputs.serve_exit) {
    check_serving(inputs, out);
    if (inputs.serve_exit->uplink.str().starts_with("oc-"))
      out.push_back(
          fmt::format("serve_exit.uplink: {} is a tunnel; name the interface that leads to "
                      "the internet",
                      inputs.serve_exit->uplink.str()));
  }
  check_networks(inputs, out);
  // Two links may name the same contradiction twice (a peer that dials us and that we dial).
  std::ranges::sort(out);
  const auto rest = std::ranges::unique(out);
  out.erase(rest.begin(), rest.end());
  return out;
}

}  // namespace oceanid::routing
