#include "gateway/process/routing_inputs.hpp"

#include <algorithm>
#include <cstdlib>

namespace oceanid::process {
namespace {

// Kubernetes' own plumbing: bridges of pods and the pods' ends of veth pairs are no underlay.
bool is_pod_link(const Config& config, const routing::LinkFacts& link) {
  return config.routing && std::ranges::find(config.routing->interfaces, link.name) !=
                               config.routing->interfaces.end();
}

std::vector<routing::TunnelLink> links_of(const Config& config,
                                          const std::vector<tunnel::TunnelStatus>& tunnels) {
  std::vector<routing::TunnelLink> out;
  for (const auto& status : tunnels) {
    routing::TunnelLink link;
    link.name = status.device;
    link.hub = status.hub;
    // With a fixed `tunnel.mtu` nobody looks for the path's, and what does not fit is better cut.
    link.set_df = status.backend == "kernel" && !config.tunnel->mtu;
    link.mtu = status.mtu;
    for (const auto& peer : status.peers) {
      const auto settings =
          std::ranges::find(config.tunnel->peers, peer.name, &tunnel::PeerSettings::name);
      if (settings == config.tunnel->peers.end()) continue;
      routing::TunnelPeer view;
      view.name = peer.name;
      view.addresses = settings->addresses;
      view.networks = settings->networks;
      if (status.hub) view.mtu = peer.mtu;
      link.peers.push_back(view);
      for (const auto& far : config.tunnel->peers) {
        if (far.via != peer.name) continue;
        view.name = far.name;
        // Who has no address of its own on a link lies behind another one (routing/core/scene.hpp).
        view.addresses.clear();
        view.networks = far.networks;
        for (const IpAddress& address : far.addresses)
          view.networks.push_back(Prefix::host(address));
        link.peers.push_back(view);
      }
    }
    out.push_back(std::move(link));
  }
  return out;
}

routing::ExitPath path_of(const Config& config, const routing::HostFacts& facts,
                          const ExitSettings& exit, const ExitState& state) {
  routing::ExitPath out;
  out.name = exit.name;
  out.self = exit.self;
  out.tunnel = exit.peer.has_value();
  out.present = state.device.has_value();
  out.usable = state.usable;
  out.ipv4 = state.ipv4;
  out.ipv6 = state.ipv6;
  if (exit.peer) {
    out.device = tunnel::device_of_peer(*exit.peer);
    return out;
  }
  out.device = exit.self ? config.serve_exit->uplink : *exit.interface;
  if (exit.gateway) {
    (exit.gateway->is_v4() ? out.gateway4 : out.gateway6) = exit.gateway;
    return out;
  }
  if (const auto* route = routing::find_default(facts, Family::v4, out.device))
    out.gateway4 = route->gateway;
  if (const auto* route = routing::find_default(facts, Family::v6, out.device))
    out.gateway6 = route->gateway;
  return out;
}

std::vector<routing::GuardedPort> guarded_ports(const Config& config) {
  std::vector<routing::GuardedPort> out;
  const auto add = [&](const SocketAddress& bind, const std::vector<Prefix>& clients) {
    const bool everywhere = bind.address.is_unspecified();
    out.push_back({bind.port, clients, everywhere ? std::nullopt : std::optional(bind.address)});
  };
  for (const auto& listener : config.proxy.listeners)
    add(listener.bind, config.proxy.clients);
  for (const auto& forward : config.forwards)
    add(forward.bind, forward.clients.value_or(config.proxy.clients));
  return out;
}

// Pods' own devices and exits' tunnels, which we made; of uplinks the one that this node serves as
// an exit. What goes by somebody else's interface meets the rules.
std::vector<routing::FastDevice> fast_devices(const Config& config,
                                              const routing::HostFacts& facts) {
  std::vector<routing::FastDevice> out;
  using Kind = routing::FastDevice::Kind;
  const bool steered = config.routing && config.routing->flowtable;
  const bool served = config.serve_exit && config.serve_exit->flowtable;
  const bool own = served && config.routing &&
                   std::ranges::any_of(config.exits, [](const auto& exit) { return exit.self; });
  const auto add = [&](const IfName& name, Kind kind) {
    const auto* link = routing::find_link(facts, name);
    if (link != nullptr && std::ranges::find(out, name, &routing::FastDevice::name) == out.end())
      out.push_back({name, link->index, kind, kind == Kind::pods && link->tracked});
  };
  if (steered || own)
    for (const IfName& name : config.routing->interfaces)
      add(name, Kind::pods);
  if (steered)
    for (const ExitSettings& exit : config.exits)
      if (exit.peer) add(tunnel::device_of_peer(*exit.peer), Kind::exit);
  if (served) {
    add(IfName::parse(tunnel::hub_name).value(), Kind::hub);
    add(config.serve_exit->uplink, Kind::uplink);
  }
  return out;
}

std::vector<routing::Interception> interceptions(const Config& config) {
  std::vector<routing::Interception> out;
  for (const auto& listener : config.proxy.listeners)
    if (listener.intercept)
      out.push_back({listener.intercept->sources, listener.intercept->ports, listener.bind.port,
                     listener.takes_by_tproxy()});
  return out;
}

// Where the plan expects what transparent listeners take; without routing any link may bring it.
bool brings_intercepted(const routing::Inputs& inputs, const routing::LinkFacts& link) {
  if (inputs.routing)
    return std::ranges::find(inputs.routing->interfaces, link.name) !=
           inputs.routing->interfaces.end();
  for (const auto& one : inputs.interceptions)
    for (const Prefix& source : one.sources)
      if (std::ranges::any_of(link.addresses, [&](const routing::AddressFacts& address) {
            return address.network.overlaps(source);
          }))
        return true;
  return false;
}

}  // namespace

bool is_our_link(const IfName& name) {
  return name.str().starts_with(tunnel::device_prefix);
}

Mark underlay_mark(const Config& config) {
  const Mark mark = config.routing ? config.routing->mark : routing::RoutingSettings().mark;
  // Bits inside the mask, counted in units of its lowest bit: 1 exempt, 2 intercepted, 4 underlay.
  const std::uint32_t unit = mark.mask & (~mark.mask + 1);
  return Mark{4 * unit, mark.mask};
}

bool carries(const Config& config, const std::string& peer, Family family) {
  if (!config.tunnel) return false;
  const auto of_family = [&](const IpAddress& address) { return address.family() == family; };
  const auto settings = std::ranges::find(config.tunnel->peers, peer, &tunnel::PeerSettings::name);
  return settings != config.tunnel->peers.end() &&
         std::ranges::any_of(config.tunnel->addresses, of_family) &&
         std::ranges::any_of(settings->addresses, of_family);
}

std::vector<IpAddress> local_addresses_of(const routing::HostFacts& facts) {
  std::vector<IpAddress> out;
  for (const auto& link : facts.links) {
    if (link.loopback || is_our_link(link.name)) continue;
    for (const auto& address : link.addresses)
      if (!address.link_local) out.push_back(address.local.address);
  }
  return out;
}

std::vector<tunnel::TunnelStatus> planned_tunnels(const Config& config,
                                                  const std::string& backend) {
  std::vector<tunnel::TunnelStatus> out;
  if (!config.tunnel) return out;
  auto devices = tunnel::plan(*config.tunnel, config.exits, {}, {});
  if (!devices) return out;
  for (const auto& device : *devices) {
    tunnel::TunnelStatus status;
    status.device = device.name;
    status.hub = device.hub;
    status.backend = backend;
    status.mtu = device.mtu;
    for (const auto& peer : device.peers) {
      auto& view = status.peers.emplace_back();
      view.name = peer.name;
      view.mtu = device.mtu;
    }
    out.push_back(std::move(status));
  }
  return out;
}

std::vector<tunnel::TunnelStatus> found_tunnels(const Config& config,
                                                const routing::HostFacts& facts) {
  auto out = planned_tunnels(config);
  for (auto& status : out) {
    const auto* link = routing::find_link(facts, status.device);
    if (link == nullptr || !link->up) continue;
    status.present = true;
    if (link->kind == "wireguard") status.backend = "kernel";
    status.mtu = link->mtu;
    for (auto& peer : status.peers)
      peer.mtu = link->mtu;
  }
  return out;
}

routing::Inputs routing_inputs(const Config& config, const routing::HostFacts& facts,
                               const std::vector<tunnel::TunnelStatus>& tunnels,
                               const std::vector<SocketAddress>& peer_endpoints,
                               const ExitTable& exits) {
  routing::Inputs out;
  out.routing = config.routing;
  out.serve_exit = config.serve_exit;
  if (config.tunnel) {
    out.tunnel_addresses = config.tunnel->addresses;
    out.overlay = config.tunnel->overlay;
    out.tunnel_listen = config.tunnel->listen.value_or(0);
    out.probe_port = config.tunnel->probe;
    if (config.tunnel->tls)
      out.transport = {config.tunnel->tls->bind.port, config.tunnel->tls->responder};
    out.links = links_of(config, tunnels);
  }
  for (std::size_t i = 0; i < config.exits.size(); ++i) {
    const ExitState state = i < exits.exits.size() ? exits.exits[i] : ExitState{};
    out.exits.push_back(path_of(config, facts, config.exits[i], state));
  }
  out.active = exits.active;
  out.peer_endpoints = peer_endpoints;
  for (const auto& link : facts.links) {
    if (link.loopback || is_our_link(link.name) || is_pod_link(config, link)) continue;
    for (const auto& address : link.addresses)
      if (!address.link_local) out.on_link.push_back(address.network);
  }
  for (const auto& route : facts.defaults)
    if (!is_our_link(route.device) &&
        std::ranges::find(out.uplinks, route.device) == out.uplinks.end())
      out.uplinks.push_back(route.device);
  out.local_addresses = local_addresses_of(facts);
  out.guarded_ports = guarded_ports(config);
  out.interceptions = interceptions(config);
  for (const auto& link : facts.links)
    if (link.tracked && brings_intercepted(out, link)) out.tracked_bridges.push_back(link.name);
  out.fast = fast_devices(config, facts);
  if (config.serve_exit) {
    if (const auto* uplink = routing::find_link(facts, config.serve_exit->uplink)) {
      out.uplink_source4 = routing::primary_address(*uplink, Family::v4);
      out.uplink_source6 = routing::primary_address(*uplink, Family::v6);
    }
  }
  return out;
}

std::vector<SocketAddress> literal_endpoints(const Config& config) {
  std::vector<SocketAddress> out;
  if (!config.tunnel) return out;
  for (const auto& peer : config.tunnel->peers)
    if (peer.endpoint)
      if (const auto literal = IpAddress::parse(peer.endpoint->host))
        out.push_back({*literal, peer.endpoint->port});
  return out;
}

std::optional<routing::ControlConnection> own_session() {
  const char* text = std::getenv("SSH_CONNECTION");
  return text == nullptr ? std::nullopt : routing::ControlConnection::parse(text);
}

bool same_kernel_state(const Config& a, const Config& b) {
  const auto asked = [](const Config& config) {
    auto inputs = routing_inputs(config, {}, planned_tunnels(config), {}, {});
    if (inputs.routing) {  // how changes are made, not what they are
      inputs.routing->confirm = {};
      inputs.routing->drain = {};
    }
    return inputs;
  };
  return a.tunnel == b.tunnel && a.exits == b.exits && underlay_mark(a) == underlay_mark(b) &&
         asked(a) == asked(b);
}

}  // namespace oceanid::process
