// What no configuration can cut off: the operator's way in, the cluster's control plane, the
// tunnels' own packets, and what keeps an address on a link. These lines come before any of ours
// that could refuse the node's own traffic; `return` in a base chain hands the packet on, so that
// foreign rules still judge it. Forwarded packets are not the node's own.
//
// First of all come the packets of a busy tunnel, by a mark or a state, which are comparisons: the
// lines behind are names and sets (bench/tunnel).
//
// Not on our tunnels: from there only peers' own networks are let in (tunnel_ingress; with tunnels
// and nothing else WireGuard alone sees to it), and an operator who comes by a tunnel is one of
// them.

#include "routing/core/nft_text.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

// SSH, etcd, the API server, the kubelet.
constexpr std::string_view control_ports = "{ 22, 2379-2380, 6443, 10250 }";
// Neighbour discovery and multicast listener discovery: without them IPv6 loses its neighbours.
constexpr std::string_view discovery =
    "icmpv6 type { mld-listener-query, mld-listener-report, mld2-listener-report, "
    "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }";

}  // namespace

void NftParts::failsafes_in() {
  // No line of ours in the input hook refuses these.
  out.line("ct state established,related return");
  out.line(fmt::format("iifname != \"oc-*\" tcp dport {} return", control_ports));
  out.line(std::string(discovery) + " return");
  out.line("udp sport . udp dport { 67 . 68, 547 . 546 } return");
  for (const std::uint16_t port : {scene.in.tunnel_listen, scene.in.probe_port})
    if (port != 0) out.line(fmt::format("iifname != \"oc-*\" udp dport {} return", port));
  if (!scene.in.transport) return;
  out.line(fmt::format("iifname != \"oc-*\" tcp dport {} return", scene.in.transport->tls));
  out.line(fmt::format("iifname != \"oc-*\" udp dport {} return", scene.in.transport->responder));
}

// Answers only: a connection that this node opens from port 22 is none of the operator's.
void NftParts::failsafes_out() {
  const std::string_view answer =
      scene.tracking ? "ct direction reply" : "tcp flags & (syn | ack) != syn";
  out.line(fmt::format("{} tcp sport {} return", answer, control_ports));
  out.line(std::string(discovery) + " return");
  out.line("udp sport . udp dport { 68 . 67, 546 . 547 } return");
}

// A pod's answers pass here too, and must not be taken for the node's.
void NftParts::failsafes_last() {
  out.line(
      fmt::format("ct direction reply tcp sport {} fib saddr type local return", control_ports));
}

}  // namespace oceanid::routing::detail
