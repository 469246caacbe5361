// `oceanid mtu HOST`: gathers what mtu_stack.hpp judges.

#include "gateway/base/runtime/socket_address.hpp"
#include "gateway/base/runtime/unique_fd.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/cli/mtu_probe.hpp"
#include "gateway/cli/mtu_stack.hpp"
#include "routing/edge/overlay_links.hpp"
#include "tunnel/edge/path_socket.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>

#include <fmt/format.h>

#include <netdb.h>
#include <sys/socket.h>

namespace oceanid::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool is_overlay(const fs::path& link) {
  std::ifstream file(link / "uevent");
  for (std::string line; std::getline(file, line);)
    if (line == "DEVTYPE=vxlan" || line == "DEVTYPE=geneve") return true;
  return false;
}

std::optional<LinkMtu> link_named(const fs::path& link) {
  const auto mtu = parse_decimal(first_line(link / "mtu"), 65536);
  if (!mtu) return std::nullopt;
  LinkMtu out{link.filename(), static_cast<unsigned>(*mtu), {}};
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(link, ec))
    if (const std::string name = entry.path().filename(); name.starts_with("lower_"))
      out.below = name.substr(6);
  return out;
}

void look_at_links(MtuFacts& facts, const std::vector<IfName>& pods) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/sys/class/net", ec)) {
    const auto link = link_named(entry.path());
    if (!link) continue;
    if (is_overlay(entry.path())) facts.overlays.push_back(*link);
    if (std::ranges::any_of(pods, [&](const IfName& pod) { return pod.str() == link->name; }))
      facts.pods.push_back(*link);
    if (facts.tunnel && link->name == facts.tunnel->device) facts.tunnel_link = link->mtu;
  }
  std::ranges::sort(facts.overlays, {}, &LinkMtu::name);
  std::ranges::sort(facts.pods, {}, &LinkMtu::name);
}

// An overlay whose outer addresses are the tunnels' own runs on these, whatever link it was made
// on.
void look_below_overlays(MtuFacts& facts, const std::vector<IpAddress>& own) {
  const auto links = routing::overlay_links();
  if (!links) return;
  for (LinkMtu& overlay : facts.overlays)
    for (const auto& link : *links) {
      if (link.name.str() != overlay.name) continue;
      overlay.outer = link.outer.family();
      if (facts.tunnel && std::ranges::find(own, link.outer) != own.end())
        overlay.below = facts.tunnel->device;
    }
}

// The link by which packets to the address leave; connect() on a datagram socket sends nothing.
std::optional<LinkMtu> card_towards(const IpAddress& address) {
  const UniqueFd socket(
      ::socket(address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const NativeAddress to = to_native({address, 9});
  NativeAddress from;
  if (!socket || ::connect(socket.get(), to.get(), to.length) != 0 ||
      ::getsockname(socket.get(), from.get(), &from.length) != 0)
    return std::nullopt;
  const auto local = from_native(from);
  const auto link = local ? tunnel::link_with(local->address) : std::nullopt;
  if (!link) return std::nullopt;
  return LinkMtu{link->name, link->mtu, {}};
}

std::vector<IpAddress> addresses_of(const std::string& host) {
  if (const auto literal = IpAddress::parse(host)) return {*literal};
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, &::freeaddrinfo);
  std::vector<IpAddress> out;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    NativeAddress native;
    native.length = one->ai_addrlen;
    std::copy_n(reinterpret_cast<const char*>(one->ai_addr), one->ai_addrlen,
                reinterpret_cast<char*>(&native.storage));
    if (const auto address = from_native(native)) out.push_back(address->address);
  }
  return out;
}

// The tunnel to the peer of this name, as the running gateway has it; the dialled one first.
std::optional<ipc::TunnelView> tunnel_to(const Options& options, const std::string& peer) {
  const auto answer = ask(options, "status", 5s);
  if (!answer) return std::nullopt;
  const auto snapshot = ipc::decode<ipc::GatewaySnapshot>(*answer, "status");
  if (!snapshot) return std::nullopt;
  std::optional<ipc::TunnelView> best;
  for (const auto& tunnel : snapshot->tunnels)
    if (tunnel.peer == peer && (!best || best->device == "oc-hub")) best = tunnel;
  return best;
}

}  // namespace

int show_mtu(const Options& options) {
  MtuFacts facts;
  facts.target = options.host;
  std::vector<IfName> pods;
  std::vector<IpAddress> own;
  if (!options.config_file.empty()) {
    const auto config = load_or_complain(options);
    if (!config) return exit_usage;
    if (config->routing) pods = config->routing->interfaces;
    if (config->tunnel) own = config->tunnel->addresses;
    if (config->tunnel)
      facts.ipv6_inside = std::ranges::any_of(config->tunnel->addresses,
                                              [](const IpAddress& own) { return !own.is_v4(); });
    const auto is_meant = [&](const auto& peer) { return peer.name == options.host; };
    if (config->tunnel && std::ranges::any_of(config->tunnel->peers, is_meant))
      facts.tunnel = tunnel_to(options, options.host);
  }
  if (facts.tunnel) {
    if (const auto endpoint = SocketAddress::parse(facts.tunnel->endpoint))
      facts.card = card_towards(endpoint->address);
  } else {
    const auto addresses = addresses_of(options.host);
    if (addresses.empty()) {
      fmt::print(stderr, "{}: no such peer, and no such host\n", options.host);
      return exit_failed;
    }
    for (const IpAddress& address : addresses) {
      facts.card = card_towards(address);
      if (!facts.card) continue;  // no route by this family
      const ProbedPath path =
          probe_path(address, std::min(facts.card->mtu, tunnel::largest_path_mtu));
      facts.measured = MeasuredPath{address.is_v4(), address.to_string(), path.how, path.bytes};
      if (path.bytes) break;
    }
    if (!facts.measured) {
      fmt::print(stderr, "{}: no route to any of its addresses\n", options.host);
      return exit_failed;
    }
  }
  look_at_links(facts, pods);
  look_below_overlays(facts, own);
  fmt::print("{}", options.json ? mtu_json(facts) + "\n" : mtu_text(facts));
  const auto findings = judge_mtu(facts);
  return std::ranges::any_of(findings, &MtuFinding::wrong) ? exit_failed : exit_ok;
}

}  // namespace oceanid::cli
