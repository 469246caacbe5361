// Cross checks of `exits`, `serve_exit` and `routing`.
#include "gateway/config/checks.hpp"

#include <algorithm>
#include <array>
#include <functional>

#include <fmt/format.h>

namespace oceanid::config {

// Addresses that packets of our own travel between: if pods' sources contained one, tunnels would
// be steered into themselves.
std::vector<NamedAddress> underlay(const Config& config) {
  std::vector<NamedAddress> out;
  if (config.tunnel) {
    for (const IpAddress& own : config.tunnel->addresses)
      out.push_back({"tunnel.address", own});
    for (const auto& peer : config.tunnel->peers) {
      for (const IpAddress& inner : peer.addresses)
        out.push_back({"the address of peer " + peer.name, inner});
      if (!peer.endpoint) continue;
      if (const auto outer = IpAddress::parse(peer.endpoint->host))
        out.push_back({"the endpoint of peer " + peer.name, *outer});
    }
  }
  for (const ExitSettings& exit : config.exits)
    if (exit.gateway) out.push_back({"the gateway of exit " + exit.name, *exit.gateway});
  if (config.serve_exit)
    for (const IpAddress& seen : config.serve_exit->addresses)
      out.push_back({"serve_exit.address", seen});
  return out;
}

void Checker::exits() {
  const auto& all = config_.exits;
  for (std::size_t i = 0; i < all.size(); ++i)
    exit(item_path("exits", i), all[i]);
  if (!clean("exits")) return;
  const auto twice = [&](const std::string& key, auto projection, const std::string& what) {
    each_duplicate(all, projection, [&](std::size_t earlier, std::size_t later) {
      if (std::invoke(projection, all[later]) == decltype(std::invoke(projection, all[later])){})
        return;
      add(item_path("exits", later) + "." + key,
          fmt::format("found {} a second time (also exits[{}]); allowed: {}", what, earlier,
                      "once"));
    });
  };
  twice("name", [](const ExitSettings& e) { return e.name; }, "the name");
  twice("peer", [](const ExitSettings& e) { return e.peer; }, "the peer");
  twice("self", [](const ExitSettings& e) { return e.self; }, "self");
  twice("interface", [](const ExitSettings& e) { return e.interface; }, "the interface");
}

void Checker::exit(const std::string& path, const ExitSettings& exit) {
  if (!clean(path)) return;
  const int ways = int{exit.peer.has_value()} + int{exit.self} + int{exit.interface.has_value()};
  if (ways != 1)
    add(path, fmt::format("found {} of peer, self and interface; allowed: exactly one",
                          ways == 0 ? "none" : "more than one"));
  if (exit.name == routing::selected_exit || exit.name == routing::no_exit)
    add(path + ".name",
        found_but(quoted(exit.name) + ", which routing.selection means otherwise", "another name"));
  if (exit.gateway && !exit.interface)
    add(path + ".gateway", "found without effect; allowed: with interface");
  if (exit.interface && exit.interface->str().starts_with("oc-"))
    add(path + ".interface",
        found_but(quoted(exit.interface->str()),
                  "an interface that is not ours; for a peer's tunnel use peer"));
  if (exit.self && clean("serve_exit") && !config_.serve_exit)
    add(path + ".self",
        "found true without serve_exit; allowed: true where serve_exit names the uplink");
  if (!exit.peer || !clean("tunnel.peers")) return;
  const std::vector<tunnel::PeerSettings> none;
  const auto& peers = config_.tunnel ? config_.tunnel->peers : none;
  const auto peer = std::ranges::find(peers, *exit.peer, &tunnel::PeerSettings::name);
  if (peer == peers.end())
    add(path + ".peer", found_but(quoted(*exit.peer), "the name of a peer in tunnel.peers"));
  else if (!peer->endpoint)
    add(path + ".peer",
        found_but(quoted(*exit.peer) + ", which has no endpoint", "a peer that this node dials"));
}

void Checker::serve_exit() {
  if (!config_.serve_exit || !clean("serve_exit")) return;
  const auto& serve = *config_.serve_exit;
  if (serve.uplink.str().starts_with("oc-"))
    add("serve_exit.uplink", found_but(quoted(serve.uplink.str()),
                                       "the interface to the internet, not a tunnel of ours"));
  // Replies to clients are looked up before everything else: a default route there would catch SSH
  // too.
  for (std::size_t i = 0; i < serve.clients.size(); ++i)
    if (serve.clients[i].length() == 0)
      add(item_path("serve_exit.clients", i),
          found_but(serve.clients[i].to_string(), "the clients' own ranges"));
}

void Checker::routing() {
  if (!config_.routing || !clean("routing")) return;
  const auto& routing = *config_.routing;
  exit_name("routing.exit", routing.exit);
  if (config_.exits.empty() && clean("exits"))
    add("routing", "found routing without exits; allowed: routing with at least one exit");
  for (std::size_t i = 0; i < routing.interfaces.size(); ++i) {
    const std::string& device = routing.interfaces[i].str();
    const std::string path = item_path("routing.interfaces", i);
    if (device.starts_with("oc-"))
      add(path, found_but(quoted(device), "the pods' interface, not a tunnel of ours"));
    if (config_.serve_exit && clean("serve_exit") &&
        routing.interfaces[i] == config_.serve_exit->uplink)
      add(path, found_but(quoted(device) + ", which is serve_exit.uplink", "the pods' interface"));
  }
  sources();
  selection();
}

void Checker::sources() {
  const auto& routing = *config_.routing;
  if (!clean("tunnel") || !clean("exits") || !clean("serve_exit")) return;
  const std::vector<NamedAddress> own = underlay(config_);
  for (std::size_t i = 0; i < routing.sources.size(); ++i) {
    const Prefix& source = routing.sources[i];
    const std::string path = item_path("routing.sources", i);
    const auto refuse_overlap = [&](std::string_view what) {
      add(path, fmt::format("found {}, which contains {}; allowed: this node's own pods only",
                            source.to_string(), what));
    };
    for (const NamedAddress& named : own)
      if (source.contains(named.address))
        refuse_overlap(named.what + " (" + named.address.to_string() + ")");
    for (const Prefix& node : routing.nodes)
      if (source.overlaps(node)) refuse_overlap("routing.nodes (" + node.to_string() + ")");
    if (!config_.tunnel) continue;
    for (const auto& peer : config_.tunnel->peers)
      for (const Prefix& network : peer.networks)
        if (source.overlaps(network))
          refuse_overlap("networks of peer " + peer.name + " (" + network.to_string() + ")");
  }
}

void Checker::tables() {
  if (!config_.routing || !clean("routing") || !clean("exits")) return;
  const auto& routing = *config_.routing;
  // 52 is Tailscale's; 253 to 255 are the kernel's default, main and local.
  static constexpr std::array taken{52U, 253U, 254U, 255U};
  const std::uint64_t last = std::uint64_t{routing.table} + config_.exits.size() + 3;
  for (const std::uint32_t table : taken)
    if (routing.table <= table && table <= last) {
      add("routing.table",
          fmt::format("found {}, so that ours are {} to {}; allowed: a range without {}",
                      routing.table, routing.table, last, "52 and 253 to 255"));
      break;
    }
  // Tailscale's rules stand at 5210 to 5270; ours must be before or behind all of them.
  const std::uint32_t last_rule = routing.priority + 90;
  if (routing.priority <= 5270 && last_rule >= 5210)
    add("routing.priority",
        fmt::format(
            "found {}, so that ours are {} to {}; allowed: a range without Tailscale's 5210 to "
            "5270",
            routing.priority, routing.priority, last_rule));
}

}  // namespace oceanid::config
