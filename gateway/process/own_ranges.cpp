#include "gateway/process/own_ranges.hpp"

#include <utility>

namespace oceanid::process {

using proxy::NamedPrefix;
using proxy::OwnKind;

std::vector<NamedPrefix> own_ranges(const Config& config,
                                    const std::vector<IpAddress>& local_addresses,
                                    const std::vector<IpAddress>& endpoint_addresses) {
  std::vector<NamedPrefix> out;
  for (const auto& address : local_addresses)
    out.push_back({Prefix::host(address), OwnKind::node, "an address of this node"});
  for (const auto& address : endpoint_addresses)
    out.push_back({Prefix::host(address), OwnKind::node, "the endpoint of a peer"});
  // Loopback is shut by the table; who opens it by guard.allow means the programs beside us.
  const auto listener = [&](const SocketAddress& bind, std::string what) {
    const bool loopback = Prefix::parse("127.0.0.0/8").value().contains(bind.address) ||
                          bind.address == IpAddress::parse("::1").value();
    if (!bind.address.is_unspecified() && !loopback)
      out.push_back({Prefix::host(bind.address), OwnKind::listener, std::move(what)});
  };
  listener(config.admin_bind, "admin.bind");
  for (const auto& one : config.proxy.listeners)
    listener(one.bind, "a listener");
  for (const auto& one : config.forwards)
    listener(one.bind, "the forward " + one.name);
  if (config.serve_exit)
    for (const auto& address : config.serve_exit->addresses)
      out.push_back({Prefix::host(address), OwnKind::node, "serve_exit.address"});
  if (config.routing) {
    for (const auto& prefix : config.routing->sources)
      out.push_back({prefix, OwnKind::pods, "routing.sources"});
    for (const auto& prefix : config.routing->bypass)
      out.push_back({prefix, OwnKind::services, "routing.bypass"});
    for (const auto& prefix : config.routing->nodes)
      out.push_back({prefix, OwnKind::node, "routing.nodes"});
  }
  if (config.tunnel) {
    for (const auto& address : config.tunnel->addresses)
      out.push_back({Prefix::host(address), OwnKind::tunnel, "tunnel.address"});
    for (const auto& peer : config.tunnel->peers) {
      for (const auto& address : peer.addresses)
        out.push_back({Prefix::host(address), OwnKind::tunnel, "tunnel address of " + peer.name});
      for (const auto& prefix : peer.networks)
        out.push_back({prefix, OwnKind::pods, "networks of " + peer.name});
      if (peer.endpoint)
        if (const auto literal = IpAddress::parse(peer.endpoint->host))
          out.push_back({Prefix::host(*literal), OwnKind::node, "endpoint of " + peer.name});
    }
  }
  return out;
}

}  // namespace oceanid::process
