// Where peers dial us when their network lets UDP through on one port only: what is WireGuard's on
// UDP 443 goes to WireGuard's port. It is known by its first bytes, a type of 1 to 4 and three
// zeroes, which no QUIC packet begins with (RFC 9000 section 17: the second bit of its first byte
// is set), so that a web server may have the port as well. The peers' questions whether UDP passes
// go to the responder, at both ports.
//
// The verdict falls once for each connection of connection tracking, and answers are translated
// back by it. One step before dstnat: a service that the cluster publishes on UDP 443 is
// kube-proxy's to translate, and not what this takes.

#include "routing/core/nft_text.hpp"

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

constexpr std::uint16_t https_port = 443;
// Behind the UDP header, 64 bits. Message types: wireguard.com/protocol.
constexpr std::string_view wireguard_begins =
    "@th,64,32 { 0x01000000, 0x02000000, 0x03000000, 0x04000000 }";
constexpr std::string_view question_begins = "@th,64,32 0x4f435552";  // "OCUR"

}  // namespace

void NftParts::transport() {
  if (!scene.in.transport || scene.in.tunnel_listen == 0) return;
  const std::uint16_t listen = scene.in.tunnel_listen;
  const bool shared = listen == https_port;
  out.begin("transport", "nat hook prerouting priority dstnat - 1");
  out.line("iifname { \"lo\", \"oc-*\" } return");
  out.line("fib daddr type != local return");
  out.line(fmt::format("udp dport {} {} redirect to :{}",
                       shared ? "443" : fmt::format("{{ 443, {} }}", listen), question_begins,
                       scene.in.transport->responder));
  if (!shared) out.line(fmt::format("udp dport 443 {} redirect to :{}", wireguard_begins, listen));
  out.end();
}

}  // namespace oceanid::routing::detail
