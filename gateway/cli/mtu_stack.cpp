#include "gateway/cli/mtu_stack.hpp"

#include "routing/core/overlay_link.hpp"
#include "tunnel/core/mtu.hpp"

#include <algorithm>
#include <functional>
#include <iterator>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

namespace oceanid::cli {
namespace {

constexpr unsigned tcp4 = 40;
constexpr unsigned wasteful = 80;  // below this nobody notices

Family outer_of(const ipc::PathView& path) {
  return path.family == "ipv4" ? Family::v4 : Family::v6;
}

void judge_tunnel(const MtuFacts& facts, std::vector<MtuFinding>& out) {
  const ipc::TunnelView& tunnel = *facts.tunnel;
  if (facts.tunnel_link && *facts.tunnel_link != tunnel.mtu)
    out.push_back(
        {"tunnel", true,
         fmt::format("{} has an MTU of {} instead of {}: ip link set {} mtu {}", tunnel.device,
                     *facts.tunnel_link, tunnel.mtu, tunnel.device, tunnel.mtu)});
  if (!tunnel.path || !tunnel.path->bytes) {
    out.push_back({"path", false,
                   "not measured: the peer does not answer probes; its UDP port tunnel.probe "
                   "(51821) must be open"});
    return;
  }
  const unsigned inner = tunnel::inner_mtu(*tunnel.path->bytes, outer_of(*tunnel.path));
  if (tunnel.path->below_floor)
    out.push_back({"path", true,
                   fmt::format("{} bytes leave {} inside the tunnel and IPv6 needs 1280: take IPv6 "
                               "out of tunnel.address, or make the path carry {}",
                               *tunnel.path->bytes, inner,
                               1280 + tunnel::encapsulation_overhead(outer_of(*tunnel.path)))});
  else if (tunnel.mtu > inner)
    out.push_back({"tunnel", true,
                   fmt::format("{} is more than the path carries: set tunnel.mtu to {}, or to auto",
                               tunnel.mtu, inner)});
  else if (tunnel.mtu + wasteful <= inner)
    out.push_back(
        {"tunnel", false,
         fmt::format("the path carries {}: set tunnel.mtu to {}, or to auto", inner, inner)});
  if (tunnel.full_size_missing >= 3)
    out.push_back(
        {"tunnel", true,
         fmt::format("packets of {} bytes do not pass, smaller ones do: set tunnel.mtu to "
                     "a smaller number, and look for the link that drops them",
                     tunnel.mtu)});
}

void judge_overlays(const MtuFacts& facts, std::vector<MtuFinding>& out) {
  for (const LinkMtu& overlay : facts.overlays) {
    const auto below = std::ranges::find(facts.overlays, overlay.below, &LinkMtu::name);
    unsigned room = 0;
    if (below != facts.overlays.end()) room = below->mtu;
    if (facts.card && overlay.below == facts.card->name) room = facts.card->mtu;
    if (facts.tunnel && overlay.below == facts.tunnel->device) room = facts.tunnel->mtu;
    const unsigned header = routing::overlay_header(overlay.outer);
    if (room > header && overlay.mtu > room - header)
      out.push_back({"overlay", true,
                     fmt::format("{} has {} on {} with {}: set it to {}", overlay.name, overlay.mtu,
                                 overlay.below, room, room - header)});
  }
}

void judge_pods(const MtuFacts& facts, std::vector<MtuFinding>& out) {
  if (!facts.tunnel) return;
  const unsigned room = facts.tunnel->mtu;
  for (const LinkMtu& pods : facts.pods) {
    if (facts.ipv6_inside && pods.mtu < tunnel::ipv6_inner_mtu)
      out.push_back({"pod", true,
                     fmt::format("{} has {}: Linux takes IPv6 off a link below 1280; set the CNI's "
                                 "MTU to at least 1280",
                                 pods.name, pods.mtu)});
    else if (pods.mtu > room)
      out.push_back({"pod", false,
                     fmt::format("{} has {} and the tunnel {}: TCP is clamped, larger packets of "
                                 "others are answered with the size; {} for pods avoids that",
                                 pods.name, pods.mtu, room, room)});
    else if (pods.mtu + wasteful <= room)
      out.push_back(
          {"pod", false,
           fmt::format("{} has {}, the tunnel would carry {}", pods.name, pods.mtu, room)});
  }
}

struct Layer {
  std::string name;
  std::string what;
  std::string bytes;
};

std::string number(unsigned bytes) {
  return bytes == 0 ? "-" : std::to_string(bytes);
}

std::vector<Layer> layers(const MtuFacts& facts) {
  std::vector<Layer> out;
  if (facts.card) out.push_back({"nic", facts.card->name, number(facts.card->mtu)});
  if (facts.measured)
    out.push_back({"path", facts.measured->address + ", " + facts.measured->how,
                   number(facts.measured->bytes.value_or(0))});
  if (facts.tunnel) {
    const auto& path = facts.tunnel->path;
    out.push_back({"path", facts.tunnel->endpoint + (path ? ", " + path->state : std::string()),
                   number(path ? path->bytes.value_or(0) : 0)});
    out.push_back({"tunnel", facts.tunnel->device, number(facts.tunnel->mtu)});
  }
  for (const LinkMtu& overlay : facts.overlays)
    out.push_back({"overlay", overlay.name + (overlay.below.empty() ? "" : " on " + overlay.below),
                   number(overlay.mtu)});
  for (const LinkMtu& pods : facts.pods)
    out.push_back({"pod", pods.name, number(pods.mtu)});
  return out;
}

}  // namespace

std::vector<MtuFinding> judge_mtu(const MtuFacts& facts) {
  std::vector<MtuFinding> out;
  if (facts.measured) {
    if (!facts.measured->bytes)
      out.push_back({"path", true, "nobody answered; neither ICMP echo nor UDP comes back"});
    else if (facts.card &&
             *facts.measured->bytes < std::min(facts.card->mtu, tunnel::largest_path_mtu))
      out.push_back(
          {"path", false,
           fmt::format("a link on the way carries {} of the {} that {} sends: TCP needs an "
                       "MSS of at most {}",
                       *facts.measured->bytes, facts.card->mtu, facts.card->name,
                       *facts.measured->bytes - (facts.measured->ipv4 ? tcp4 : 60))});
  }
  if (facts.tunnel) judge_tunnel(facts, out);
  judge_overlays(facts, out);
  judge_pods(facts, out);
  std::vector<MtuFinding> sorted;  // what is wrong first, layers in order
  std::ranges::copy_if(out, std::back_inserter(sorted), &MtuFinding::wrong);
  std::ranges::copy_if(out, std::back_inserter(sorted), std::not_fn(&MtuFinding::wrong));
  return sorted;
}

std::string mtu_text(const MtuFacts& facts) {
  std::string out = fmt::format("  {:<9} {:<6} {}\n", "LAYER", "MTU", facts.target);
  const auto print = std::back_inserter(out);
  for (const Layer& layer : layers(facts))
    fmt::format_to(print, "  {:<9} {:<6} {}\n", layer.name, layer.bytes, layer.what);
  if (facts.measured && facts.measured->bytes) {
    const Family family = facts.measured->ipv4 ? Family::v4 : Family::v6;
    fmt::format_to(print, "  {:<9} {:<6} {}\n", "tunnel",
                   tunnel::inner_mtu(*facts.measured->bytes, family),
                   "what WireGuard on this path would carry");
  }
  const auto findings = judge_mtu(facts);
  out += '\n';
  for (const MtuFinding& finding : findings)
    fmt::format_to(print, "{}: {}: {}\n", finding.wrong ? "wrong" : "note", finding.layer,
                   finding.text);
  if (std::ranges::none_of(findings, &MtuFinding::wrong))
    out += "Every layer fits the one below.\n";
  return out;
}

std::string mtu_json(const MtuFacts& facts) {
  boost::json::array stack;
  for (const Layer& layer : layers(facts))
    stack.push_back({{"layer", layer.name},
                     {"what", layer.what},
                     {"bytes", layer.bytes == "-" ? boost::json::value(nullptr)
                                                  : boost::json::value(std::stoi(layer.bytes))}});
  boost::json::array findings;
  for (const MtuFinding& finding : judge_mtu(facts))
    findings.push_back(
        {{"layer", finding.layer}, {"wrong", finding.wrong}, {"text", finding.text}});
  return boost::json::serialize(boost::json::object{
      {"format", 1}, {"target", facts.target}, {"layers", stack}, {"findings", findings}});
}

}  // namespace oceanid::cli
