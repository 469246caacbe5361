#include "routing/core/plan.hpp"

#include "routing/core/diff.hpp"
#include "routing/core/long_lists.hpp"
#include "routing/core/scene.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr unsigned ipv6_minimum_mtu = 1280;  // a smaller link refuses IPv6 addresses (EINVAL)

std::vector<LinkState> make_links(const Inputs& inputs) {
  std::vector<LinkState> out;
  for (const TunnelLink& link : inputs.links) {
    LinkState state;
    state.name = link.name;
    state.mtu = link.mtu;
    for (const IpAddress& address : inputs.tunnel_addresses) {
      if (!address.is_v4() && link.mtu != 0 && link.mtu < ipv6_minimum_mtu) continue;
      state.addresses.push_back({address, address.bits()});
    }
    std::ranges::sort(state.addresses);
    out.push_back(std::move(state));
  }
  std::ranges::sort(out, {}, &LinkState::name);
  return out;
}

bool forwards_ipv6(const detail::Scene& scene) {
  const Inputs& inputs = scene.in;
  const auto v6 = [](const Prefix& prefix) { return prefix.family() == Family::v6; };
  return std::ranges::any_of(scene.relay, v6) || std::ranges::any_of(scene.overlay, v6) ||
         (inputs.routing && inputs.routing->ipv6 == Ipv6Mode::exit) ||
         (inputs.serve_exit && std::ranges::any_of(inputs.serve_exit->clients, v6));
}

// A kernel that forwards listens to no router advertisement any more, and forgets the default
// routes it has from them (accept_ra 1, Documentation/networking/ip-sysctl.rst), unless it is told
// to. First this, then forwarding. Where a network manager hears them itself it is 0, and stays so;
// pods' links are left alone: nobody there is this node's router.
void forward_ipv6(const detail::Scene& scene, std::vector<Sysctl>& out) {
  for (const IfName& uplink : scene.uplinks)
    out.push_back({.path = fmt::format("net/ipv6/conf/{}/accept_ra", uplink.str()),
                   .value = "2",
                   .required = false,
                   .instead_of = "1"});
  out.push_back({"net/ipv6/conf/all/forwarding", "1"});
}

// What arrives by a tunnel has the whole internet as its source, and main would answer by the
// uplink: loose is the strictest mode that fits. The kernel takes the larger of `all` and the
// device's value.
std::vector<Sysctl> make_sysctls(const detail::Scene& scene) {
  std::vector<Sysctl> out;
  if (scene.in.routing || scene.in.serve_exit || scene.in.overlay) {
    out.push_back({"net/ipv4/ip_forward", "1"});
    // Without it an exit under rp_filter 1 or 2 drops its clients' answers: the reverse look-up
    // meets the rules without our mark. With rp_filter 0 everywhere nothing depends on it.
    out.push_back({"net/ipv4/conf/all/src_valid_mark", "1", false});
    if (forwards_ipv6(scene)) forward_ipv6(scene, out);
  }
  // What the kernel does not count nobody can tell afterwards; without it only bytes are missing.
  if (scene.in.serve_exit && scene.in.serve_exit->accounting)
    out.push_back({"net/netfilter/nf_conntrack_acct", "1", false});
  for (const IfName& tunnel : scene.tunnels)
    out.push_back({fmt::format("net/ipv4/conf/{}/rp_filter", tunnel.str()), "2"});
  for (const IfName& device : scene.exit_interfaces)
    out.push_back({fmt::format("net/ipv4/conf/{}/rp_filter", device.str()), "2", false});
  return out;
}

}  // namespace

bool forwards_ipv6(const Inputs& inputs) {
  return forwards_ipv6(detail::Scene(inputs));
}

NetworkState plan(const Inputs& inputs) {
  const detail::Scene scene(inputs);
  NetworkState state;
  state.links = make_links(inputs);
  state.rules = detail::make_rules(scene);
  state.routes = detail::make_routes(scene);
  state.nft = detail::make_nft(scene);
  state.offload = detail::make_offload(scene);
  state.sysctls = make_sysctls(scene);
  return state;
}

NetworkState guard_plan(const Inputs& inputs) {
  Inputs closed = inputs;
  closed.active.reset();
  closed.fast.clear();
  // Lists of megabytes are not kept for a boot: until the gateway runs, long ones open nothing.
  if (closed.routing) {
    closed.routing->exempt4 = closed.routing->exempt6 = {};
    if (closed.routing->destinations.size() > most_rules) closed.routing->destinations = {};
  }
  for (ExitPath& exit : closed.exits)
    exit.present = exit.usable = false;
  NetworkState state = plan(closed);
  state.links.clear();
  // Forwarding is the gateway's to switch on, behind the guard; devices do not exist yet.
  state.sysctls.clear();
  return state;
}

std::string to_text(const NetworkState& state) {
  std::string out = "links\n";
  for (const LinkState& link : state.links) {
    out += fmt::format("  {} mtu {}", link.name.str(), link.mtu);
    for (const InterfaceAddress& address : link.addresses)
      out += " " + address.to_string();
    out += "\n";
  }
  out += "rules\n";
  for (const Rule& rule : state.rules)
    out += "  " + to_string(rule) + "\n";
  out += "routes\n";
  for (const Route& route : state.routes)
    out += "  " + to_string(route) + "\n";
  out += "sysctls\n";
  for (const Sysctl& sysctl : state.sysctls)
    out += fmt::format("  {}{}{}\n", sysctl_assignment(sysctl.path, sysctl.value),
                       sysctl.instead_of.empty() ? "" : " (for " + sysctl.instead_of + ")",
                       sysctl.required ? "" : " (wanted)");
  out += "nft\n" + text_of(state.nft);
  if (!state.offload.empty()) out += "offload\n" + state.offload;
  return out;
}

}  // namespace oceanid::routing
