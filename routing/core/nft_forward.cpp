// The forward hook: what pods may send where, what tunnels may bring in, what an exit forwards.

#include "routing/core/nft_text.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

constexpr std::string_view refuse_ingress =
    "counter name ingress_refused reject with icmpx admin-prohibited";
constexpr std::string_view reset = "counter name invalid_reset reject with tcp reset";

}  // namespace

void NftParts::forward() {
  out.begin("guard", "filter hook forward priority filter - 5");
  // Not in a chain of its own: each hook costs every packet about as much as three rules.
  if (!scene.tunnels.empty()) out.line("tcp flags & (syn | rst) == syn jump mss_of_syn");
  carried_on();
  if (scene.steering) out.line("iifname " + names(scene.pods) + " goto from_pods");
  if (!scene.tunnels.empty()) out.line("iifname \"oc-*\" goto from_tunnel");
  if (!scene.tunnels.empty()) out.line("oifname \"oc-*\" goto into_tunnel");
  out.end();
  answers();
  if (scene.steering) {
    from_pods();
    pinned();
  }
  if (!scene.tunnels.empty()) {
    from_tunnel();
    into_tunnel();
  }
  if (scene.in.serve_exit) exit_limits();
}

// On k3s nodes bridged frames between pods pass here too (bridge-nf-call-iptables); both interfaces
// are then the bridge.
void NftParts::from_pods() {
  out.begin("from_pods");
  if (!scene.tunnels.empty()) out.line("oifname \"oc-*\" goto pods_into_tunnel");
  for (const IfName& name : scene.pods)
    out.line(fmt::format("oifname \"{}\" return", name.str()));
  out.line("oifname \"lo\" return");
  overlay_by_uplink();
  if (scene.pins) out.line("jump pinned");
  out.line(fmt::format("ct direction reply {} return", has_bit(scene.marks.exempt, true)));
  if (scene.numbers.ipv6 == Ipv6Mode::ignore) out.line("meta nfproto ipv6 return");
  cluster_paths();
  exempt_paths();
  beyond_the_cluster();
  out.end();
  to_cluster();
  if (scene.tunnels.empty()) return;
  out.begin("invalid_from_pods");
  out.line(fmt::format("meta l4proto tcp {}", reset));
  out.line("counter name foreign_source drop");
  out.end();
  out.begin("pods_into_tunnel");
  refuse_translated();
  // Where there are only pods' connections, the first packet of this one was asked what follows,
  // and the routing rules let only sources come here.
  if (scene.only_pods())
    out.line(std::string("ct state established ") + (scene.pins ? "goto pinned" : "return"));
  out.line("ct state invalid goto invalid_from_pods");
  // No mark excuses it: other programs' rules set marks, too.
  out.each("", out.not_in("saddr", "sources"), "counter name foreign_source drop");
  out.each("", out.in("daddr", "overlay"), "return");
  if (scene.pins) out.line("goto pinned");
  out.end();
}

void NftParts::cluster_paths() {
  out.each("", out.in("daddr", "near"), "return");
  const bool refuses = scene.kill_switch && !scene.uplinks.empty();
  out.each("", out.in("daddr", "cluster"), refuses ? "goto to_cluster" : "return");
}

void NftParts::to_cluster() {
  if (!scene.kill_switch || scene.uplinks.empty()) return;
  out.begin("to_cluster");
  out.line(fmt::format("oifname {} {}", names(scene.uplinks), refuse_leak));
  out.end();
}

void NftParts::beyond_the_cluster() {
  if (scene.selecting) out.line(has_bit(scene.marks.exempt, false) + " return");
  if (scene.has_self && scene.in.serve_exit) {
    const std::string self = fmt::format("oifname \"{}\" {}", scene.in.serve_exit->uplink.str(),
                                         has_bit(scene.marks.carried, false));
    out.each(self, out.in("saddr", "sources"), "goto exit_limits");
  }
  if (!scene.exit_interfaces.empty())
    out.each("oifname " + names(scene.exit_interfaces), out.in("saddr", "sources"), "return");
  if (scene.numbers.ipv6 == Ipv6Mode::block)
    out.line(fmt::format("meta nfproto ipv6 {}", refuse_leak));
  if (scene.kill_switch) out.line(refuse_leak);
}

// Without an overlay what goes to another tunnel meets the last line, as all that has no business
// here. A reset goes
// back to a client only: towards a server it would carry a pod's address into main's routes.
void NftParts::from_tunnel() {
  const bool serves = scene.in.serve_exit && !scene.hubs.empty();
  out.begin("from_tunnel");
  if (scene.in.overlay) out.line("oifname \"oc-*\" goto relay");
  if (scene.tracking) out.line("ct state invalid goto invalid_from_tunnel");
  if (serves)
    out.line(fmt::format("iifname {} oifname \"{}\" goto exit_limits", names(scene.hubs),
                         scene.in.serve_exit->uplink.str()));
  if (scene.steering) out.line(fmt::format("oifname {} goto tunnel_to_pods", names(scene.pods)));
  out.line(refuse_ingress);
  out.end();
  if (scene.tracking) {
    out.begin("invalid_from_tunnel");
    if (serves) out.line(fmt::format("iifname {} meta l4proto tcp {}", names(scene.hubs), reset));
    out.line("counter name ingress_refused drop");
    out.end();
  }
  relay();
  if (!scene.steering) return;
  out.begin("tunnel_to_pods");
  out.line("ct state established,related return");
  out.each("", out.in("daddr", "sources"), "goto known_peers");
  out.line(refuse_ingress);
  out.end();
}

// Besides pods only the internet's answers to clients go into a tunnel.
void NftParts::into_tunnel() {
  out.begin("into_tunnel");
  if (scene.in.serve_exit)
    out.line(fmt::format("iifname \"{}\" ct direction reply {} return",
                         scene.in.serve_exit->uplink.str(), has_bit(scene.marks.carried, true)));
  out.line(refuse_ingress);
  out.end();
}

void NftParts::exit_limits() {
  out.begin("exit_limits");
  const bool snat_map = std::holds_alternative<SnatMap>(scene.in.serve_exit->snat);
  // Own pods are translated like clients, but by a map only when it names them.
  std::vector<std::string> clients = out.in("saddr", "clients");
  if (!snat_map && scene.has_self) {
    const std::vector<std::string> own = out.in("saddr", "sources");
    clients.insert(clients.end(), own.begin(), own.end());
  }
  out.each("", clients, "goto exit_destinations");
  out.line("counter name foreign_source drop");
  out.end();
  const bool limited = scene.in.serve_exit->per_client > 0;
  out.begin("exit_destinations");
  out.each("", out.in("daddr", "allowed"), limited ? "goto client_limit" : "return");
  out.each("", out.in("daddr", "refused"),
           "counter name special_refused reject with icmpx admin-prohibited");
  if (limited) out.line("goto client_limit");
  out.end();
  if (limited) client_limit();
}

// Each connection is shown to the count with its first packet only: UDP is `new` until the answer,
// and within one tick the kernel counts every packet (nf_conncount.c looks through its list once a
// tick). A reset, because ICMP errors to one host are limited in rate (icmp_ratelimit), and whoever
// opens too many would wait instead of being told.
void NftParts::client_limit() {
  const std::string first = "ct state new ct status & confirmed == 0 ";
  const std::string over =
      fmt::format(" ct count over {} }} goto too_many", scene.in.serve_exit->per_client);
  out.declare("  set open4 {\n    type ipv4_addr; size 65536; flags dynamic;\n  }\n");
  out.declare("  set open6 {\n    type ipv6_addr; size 65536; flags dynamic;\n  }\n");
  out.begin("client_limit");
  out.line(first + "add @open4 { ip saddr" + over);
  out.line(first + "add @open6 { ip6 saddr & ffff:ffff:ffff:ffff::" + over);
  out.end();
  out.begin("too_many");
  out.line("counter name client_refused");
  out.line("meta l4proto tcp reject with tcp reset");
  out.line("reject with icmpx admin-prohibited");
  out.end();
}

}  // namespace oceanid::routing::detail
