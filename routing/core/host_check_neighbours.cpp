// Programs that manage the same network: systemd-networkd, Tailscale, Flannel, the cluster.

#include "routing/core/host_check.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

constexpr std::uint32_t tailscale_table = 52;

void judge_networkd(const HostState& host, Findings& out) {
  if (!host.networkd) {
    out.push_back({Severity::ok, "networkd", "systemd-networkd does not run here", {}});
    return;
  }
  std::string open;
  const auto ask = [&](const std::optional<bool>& manages, std::string_view key) {
    if (manages.value_or(true)) open += fmt::format("{}{}", open.empty() ? "" : ", ", key);
  };
  ask(host.networkd->routes, "ManageForeignRoutes");
  ask(host.networkd->rules, "ManageForeignRoutingPolicyRules");
  ask(host.networkd->next_hops, "ManageForeignNextHops");
  if (open.empty()) {
    out.push_back(
        {Severity::ok, "networkd", "systemd-networkd leaves foreign routes and rules alone", {}});
    return;
  }
  out.push_back(
      {Severity::warn, "networkd",
       fmt::format(
           "systemd-networkd deletes routes and rules that it did not make whenever it starts "
           "anew ({} not switched off); they are put back, and nothing leaves meanwhile",
           open),
       "mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\nManageForeignRoutes=no\\n"
       "ManageForeignRoutingPolicyRules=no\\nManageForeignNextHops=no\\n' > "
       "/etc/systemd/networkd.conf.d/oceanid.conf && systemctl restart systemd-networkd"});
}

void judge_tailnet(const HostState& host, Findings& out) {
  const auto table = std::ranges::find(host.tables, tailscale_table, &ForeignTable::table);
  if (table == host.tables.end()) return;
  if (table->has_default)
    out.push_back({Severity::error, "tailnet",
                   "this node uses an exit node of its tailnet (a default route in table 52): the "
                   "tunnels' packets and the node's own leave by it",
                   "tailscale set --exit-node="});
  else
    out.push_back({Severity::ok, "tailnet", "no exit node of the tailnet is in use", {}});
}

void judge_flannel(const HostState& host, Findings& out) {
  const bool flannel = std::ranges::any_of(host.facts.links, [](const LinkFacts& link) {
    return link.name.str().starts_with("flannel");
  });
  if (!host.nft || (!flannel && !host.nft->flannel_masquerade)) return;
  out.push_back(
      {Severity::ok,
       "flannel",
       host.nft->flannel_masquerade
           ? "Flannel's masquerade is there; our translation comes one step before it and "
             "keeps pods' addresses"
           : "Flannel's masquerade is not there (yet)",
       {}});
}

void judge_early_nat(const HostState& host, Findings& out) {
  if (!host.nft) return;
  for (const std::string& chain : host.nft->early_nat)
    out.push_back(
        {Severity::warn, "translation",
         fmt::format("{} translates sources before we do: the exit sees the node and not the "
                     "pod, and what it checks by pod fails",
                     chain),
         fmt::format("nft list chain {}; give it a priority of srcnat (100) or later", chain)});
}

// Pods that cannot reach the API server lose DNS, leases and readiness with it.
void judge_services(const Inputs& wanted, const HostState& host, Findings& out) {
  if (!wanted.routing || !host.service_address) return;
  const IpAddress& api = *host.service_address;
  const bool passed = std::ranges::any_of(
      wanted.routing->bypass, [&](const Prefix& prefix) { return prefix.contains(api); });
  out.push_back({passed ? Severity::ok : Severity::error, "services",
                 fmt::format("the cluster's API server, {} for pods, is {}", api.to_string(),
                             passed ? "reached without an exit" : "to be reached through an exit"),
                 passed ? std::string()
                        : fmt::format("add the service network (10.43.0.0/16 with k3s), or {}, to "
                                      "routing.bypass",
                                      Prefix::host(api).to_string())});
}

}  // namespace

void judge_neighbours(const Inputs& wanted, const HostState& host, Findings& out) {
  if (wanted.routing || wanted.serve_exit) judge_networkd(host, out);
  judge_tailnet(host, out);
  judge_flannel(host, out);
  judge_early_nat(host, out);
  judge_services(wanted, host, out);
}

}  // namespace oceanid::routing::detail
