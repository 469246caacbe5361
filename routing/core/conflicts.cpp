// What cannot be right about a configuration on this host, in the operator's words.

#include "routing/core/plan.hpp"
#include "routing/core/scene.hpp"
#include "routing/core/special_ranges.hpp"

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

// The rule for own traffic to the other tunnel ends comes before the kernel's own tables: a peer's
// address that is also somebody on the link, or this node, would be looked for in the tunnel.
void check_tunnel_ends(const Inputs& in, std::vector<std::string>& out) {
  for (const IpAddress& own : in.tunnel_addresses)
    if (std::ranges::find(in.local_addresses, own) != in.local_addresses.end())
      out.push_back(fmt::format(
          "tunnel.address: {} is this node's address on another interface too: whatever "
          "it sends from there, answers to SSH among it, would be held back as a leak; "
          "choose an address of a range that nothing else uses, such as 10.99.0.0/24",
          own.to_string()));
  for (const TunnelLink& link : in.links)
    for (const TunnelPeer& peer : link.peers)
      for (const IpAddress& address : peer.addresses) {
        const auto near = std::ranges::find_if(
            in.on_link, [&](const Prefix& network) { return network.contains(address); });
        if (near != in.on_link.end())
          out.push_back(fmt::format(
              "tunnel.peers: {}, the address of {}, lies in {}, which is on a link of this node: "
              "its "
              "neighbour there would be looked for in the tunnel; give the tunnels a range of "
              "their own",
              address.to_string(), peer.name, near->to_string()));
      }
}

void check_interfaces(const Inputs& in, std::vector<std::string>& out) {
  for (const IfName& name : in.routing->interfaces) {
    if (name.str().starts_with("oc-"))
      out.push_back(
          fmt::format("routing.interfaces: {} is a tunnel; name the pods' bridge", name.str()));
    if (std::ranges::find(in.uplinks, name) != in.uplinks.end())
      out.push_back(
          fmt::format("routing.interfaces: {} is the way to the internet (it has a default route): "
                      "whatever comes in there for pods and services would be refused; name the "
                      "pods' bridge, such as cni0",
                      name.str()));
  }
}

// br_netfilter runs iptables' and nftables' prerouting on the bridged frame, and what is routed
// from the bridge drops the socket that TPROXY has chosen there (skb_orphan() in ip_rcv_core()).
void check_tproxy(const Inputs& in, std::vector<std::string>& out) {
  if (std::ranges::none_of(in.interceptions, &Interception::tproxy)) return;
  for (const IfName& bridge : in.tracked_bridges)
    out.push_back(fmt::format(
        "proxy.listeners.intercept: mode tproxy loses what comes in by {}, a bridge whose frames "
        "pass netfilter (net.bridge.bridge-nf-call-iptables=1 or bridge-nf-call-ip6tables=1, which "
        "Kubernetes needs); use mode: redirect, or where nobody needs it: sysctl -w "
        "net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0",
        bridge.str()));
}

// Answers to the operator leave by the node's own rules, not by those for pods.
void check_control(const Inputs& in, const ControlConnection& control,
                   std::vector<std::string>& out) {
  const auto own = [&](const IpAddress& address) {
    return std::ranges::find(in.tunnel_addresses, address) != in.tunnel_addresses.end();
  };
  const std::string operator_text = fmt::format("{}, from where you are connected to {} now",
                                                control.from.to_string(), control.to.to_string());
  for (const TunnelLink& link : in.links)
    for (const TunnelPeer& peer : link.peers)
      if (!own(control.to) &&
          std::ranges::find(peer.addresses, control.from) != peer.addresses.end())
        out.push_back(fmt::format(
            "tunnel.peers: the address of {} is {}: the answers to you would go into the tunnel; "
            "give the peer an address of the tunnels' own range, or connect through the tunnel",
            peer.name, operator_text));
  if (!in.routing) return;
  for (const Prefix& source : in.routing->sources)
    if (!is_private(source) && source.contains(control.from))
      out.push_back(fmt::format("routing.sources: {} contains {}; name this node's own pods only",
                                source.to_string(), operator_text));
}

}  // namespace

std::optional<ControlConnection> ControlConnection::parse(std::string_view ssh_connection) {
  std::vector<std::string_view> words;
  while (!ssh_connection.empty()) {
    const auto end = std::min(ssh_connection.find(' '), ssh_connection.size());
    if (end > 0) words.push_back(ssh_connection.substr(0, end));
    ssh_connection.remove_prefix(std::min(end + 1, ssh_connection.size()));
  }
  if (words.size() != 4) return std::nullopt;
  const auto from = IpAddress::parse(words[0]);
  const auto to = IpAddress::parse(words[2]);
  if (!from || !to) return std::nullopt;
  return ControlConnection{*from, *to};
}

std::vector<std::string> conflicts(const Inputs& inputs,
                                   const std::optional<ControlConnection>& control) {
  std::vector<std::string> out;
  if (inputs.routing) {
    for (const Prefix& source : inputs.routing->sources)
      check_source(inputs, source, out);
    check_numbers(inputs, out);
    check_interfaces(inputs, out);
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
  check_tunnel_ends(inputs, out);
  check_tproxy(inputs, out);
  if (control) check_control(inputs, *control, out);
  // Two links may name the same contradiction twice (a peer that dials us and that we dial).
  std::ranges::sort(out);
  const auto rest = std::ranges::unique(out);
  out.erase(rest.begin(), rest.end());
  return out;
}

}  // namespace oceanid::routing
