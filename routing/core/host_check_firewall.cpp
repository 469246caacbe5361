// Foreign firewalls that end in a refusal. nftables asks every base chain of a hook, so that our
// own `accept` does not overrule theirs: what we need must be open there.

#include "routing/core/host_check.hpp"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

struct Need {
  bool udp = false;
  std::uint16_t port = 0;
  std::string what;
};

bool loopback(const IpAddress& address) {
  static const Prefix v4 = Prefix::parse("127.0.0.0/8").value();
  static const Prefix v6 = Prefix::parse("::1/128").value();
  return v4.contains(address) || v6.contains(address);
}

std::vector<Need> needed_ports(const Inputs& wanted) {
  std::vector<Need> out;
  std::set<std::uint16_t> seen;
  for (const GuardedPort& guarded : wanted.guarded_ports) {
    const bool local = guarded.address && loopback(*guarded.address);
    if (!local && guarded.port != 0 && seen.insert(guarded.port).second)
      out.push_back({false, guarded.port, "clients of the gateway"});
  }
  // TPROXY leaves the destination's port.
  for (const Interception& one : wanted.interceptions)
    for (const std::uint16_t port : one.ports)
      if (one.tproxy && seen.insert(port).second)
        out.push_back({false, port, "what a transparent listener takes"});
  if (wanted.tunnel_listen != 0) out.push_back({true, wanted.tunnel_listen, "peers that dial us"});
  if (wanted.tunnel_listen != 0 && wanted.probe_port != 0)
    out.push_back({true, wanted.probe_port, "the tunnels' probes"});
  if (wanted.transport) {
    out.push_back({false, wanted.transport->tls, "peers whose network blocks UDP"});
    out.push_back({true, wanted.transport->responder, "peers that ask whether UDP passes"});
  }
  return out;
}

bool lets_in(const ClosedChain& chain, const Need& need) {
  return std::ranges::any_of(chain.ports, [&](const PortRange& range) {
    return range.udp == need.udp && range.first <= need.port && need.port <= range.last;
  });
}

std::string chain_name(const ClosedChain& chain) {
  return fmt::format("{} {} {}", chain.family, chain.table, chain.chain);
}

std::string_view program(const ClosedChain& chain) {
  return chain.family == "ip6" ? "ip6tables" : "iptables";
}

std::string open_port(const ClosedChain& chain, const Need& need) {
  const std::string_view protocol = need.udp ? "udp" : "tcp";
  switch (chain.kind) {
    case Firewall::ufw:
      return fmt::format("ufw allow {}/{}", need.port, protocol);
    case Firewall::firewalld:
      return fmt::format("firewall-cmd --permanent --add-port={}/{} && firewall-cmd --reload",
                         need.port, protocol);
    case Firewall::iptables:
      return fmt::format("{} -I {} -p {} --dport {} -j ACCEPT", program(chain), chain.chain,
                         protocol, need.port);
    case Firewall::plain:
      return fmt::format("nft insert rule {} {} dport {} accept", chain_name(chain), protocol,
                         need.port);
  }
  return {};
}

void judge_input(const Inputs& wanted, const ClosedChain& chain, Findings& out) {
  for (const Need& need : needed_ports(wanted)) {
    const bool open = lets_in(chain, need);
    out.push_back(
        {open ? Severity::ok : Severity::error, "firewall",
         fmt::format("{} refuses what it does not name; {} port {} ({}) is {}", chain_name(chain),
                     need.udp ? "UDP" : "TCP", need.port, need.what, open ? "open" : "closed"),
         open ? std::string() : open_port(chain, need)});
  }
}

std::string open_way(const ClosedChain& chain, std::string_view from) {
  switch (chain.kind) {
    case Firewall::ufw:
      return fmt::format("ufw route allow in on {}", from);
    case Firewall::firewalld:
      return fmt::format(
          "firewall-cmd --permanent --zone=trusted --add-interface={} && "
          "firewall-cmd --reload",
          from);
    case Firewall::iptables:
      return fmt::format("{} -I {} -i {} -j ACCEPT", program(chain), chain.chain, from);
    case Firewall::plain:
      return fmt::format("nft insert rule {} iifname {} accept", chain_name(chain), from);
  }
  return {};
}

bool covers(const ClosedChain& chain, const IfName& interface, const std::vector<Prefix>& sources) {
  if (std::ranges::find(chain.interfaces, interface.str()) != chain.interfaces.end()) return true;
  return !sources.empty() && std::ranges::all_of(sources, [&](const Prefix& source) {
    const bool other_family = (chain.family == "ip" && source.family() == Family::v6) ||
                              (chain.family == "ip6" && source.family() == Family::v4);
    return other_family || std::ranges::any_of(chain.sources, [&](const Prefix& open) {
             return open.contains(source);
           });
  });
}

// Pods outwards, clients' packets through an exit. What comes back belongs to a known connection,
// which every such chain lets pass.
void judge_forward(const Inputs& wanted, const ClosedChain& chain, Findings& out) {
  const auto judge = [&](const IfName& interface, const std::vector<Prefix>& sources,
                         std::string_view who) {
    const bool open = covers(chain, interface, sources);
    out.push_back(
        {open ? Severity::ok : Severity::error, "firewall",
         fmt::format("{} refuses what it does not name; what {} send in by {} is {}",
                     chain_name(chain), who, interface.str(), open ? "let through" : "refused"),
         open ? std::string() : open_way(chain, interface.str())});
  };
  if (wanted.routing)
    for (const IfName& interface : wanted.routing->interfaces)
      judge(interface, wanted.routing->sources, "pods");
  if (wanted.serve_exit)
    for (const TunnelLink& link : wanted.links)
      if (link.hub) judge(link.name, wanted.serve_exit->clients, "clients");
}

void judge_output(const Inputs& wanted, const ClosedChain& chain, Findings& out) {
  if (wanted.links.empty() && wanted.guarded_ports.empty()) return;
  out.push_back(
      {Severity::warn, "firewall",
       fmt::format("{} refuses what this node sends unless it is named: the gateway's own "
                   "connections and the tunnels' packets are among it",
                   chain_name(chain)),
       chain.kind == Firewall::ufw ? "ufw default allow outgoing"
                                   : fmt::format("nft insert rule {} accept", chain_name(chain))});
}

}  // namespace

void judge_firewalls(const Inputs& wanted, const HostState& host, Findings& out) {
  if (host.legacy_iptables)
    out.push_back(
        {Severity::warn, "firewall",
         "tables of the legacy iptables are loaded, which nft cannot show: whether they let "
         "our packets pass is not known",
         "iptables-legacy-save; update-alternatives --set iptables /usr/sbin/iptables-nft"});
  if (!host.nft) return;
  const auto before = out.size();
  for (const ClosedChain& chain : host.nft->closed) {
    if (chain.hook == "input") judge_input(wanted, chain, out);
    if (chain.hook == "forward") judge_forward(wanted, chain, out);
    if (chain.hook == "output") judge_output(wanted, chain, out);
  }
  if (out.size() == before && !host.legacy_iptables)
    out.push_back({Severity::ok, "firewall", "no foreign chain refuses what it does not name", {}});
}

}  // namespace oceanid::routing::detail
