// The kernel: sysctls, sizes, and what it was built with.

#include "routing/core/diff.hpp"
#include "routing/core/host_check.hpp"
#include "routing/core/plan.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace oceanid::routing {
namespace detail {
namespace {

constexpr unsigned ipv6_minimum_mtu = 1280;
// An exit for a small cluster: 64,512 flows to one destination, and more of them.
constexpr std::uint64_t enough_flows = 131'072;
// About 0.4 KB a flow (struct nf_conn and its extensions, twice in the hash).
constexpr std::uint64_t bytes_per_flow = 400;

const std::string* value_of(const HostState& host, const std::string& path) {
  const auto found = host.sysctls.find(path);
  return found == host.sysctls.end() ? nullptr : &found->second;
}

std::optional<std::uint64_t> number_of(const HostState& host, const std::string& path) {
  const std::string* text = value_of(host, path);
  std::uint64_t out = 0;
  if (text == nullptr ||
      std::from_chars(text->data(), text->data() + text->size(), out).ec != std::errc())
    return std::nullopt;
  return out;
}

// Documentation/networking/ip-sysctl.rst: with 1 advertisements count only while forwarding is off.
void judge_hearing(const std::string& path, const HostState& host, Findings& out) {
  const bool can = host.sysctls_writable;
  out.push_back(
      {can ? Severity::ok : Severity::error, "forwarding",
       fmt::format("{}: a kernel that forwards forgets routers' advertisements; {}",
                   sysctl_assignment(path, "1"),
                   can ? "the gateway changes it to 2" : "and this process may not change it"),
       can ? std::string() : "sysctl -w " + sysctl_assignment(path, "2")});
}

void judge_forwarding(const Inputs& wanted, const HostState& host, Findings& out) {
  const auto ask = [&](const std::string& path, std::string_view name) {
    const std::string* value = value_of(host, path);
    if (value == nullptr) return;
    if (*value != "0")
      out.push_back({Severity::ok, "forwarding", fmt::format("{} is on", name), {}});
    else
      out.push_back({host.sysctls_writable ? Severity::warn : Severity::error, "forwarding",
                     fmt::format("{} is off; {}", name,
                                 host.sysctls_writable ? "the gateway switches it on at its start"
                                                       : "and this process may not switch it on"),
                     fmt::format("sysctl -w {}=1", name)});
  };
  ask("net/ipv4/ip_forward", "net.ipv4.ip_forward");
  if (!forwards_ipv6(wanted)) return;
  ask("net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding");
  for (const auto& [path, value] : host.sysctls)
    if (path.ends_with("/accept_ra") && value == "1") judge_hearing(path, host, out);
}

void judge_reverse_path(const HostState& host, Findings& out) {
  std::string strict;
  for (const auto& [path, value] : host.sysctls)
    if (path.starts_with("net/ipv4/conf/") && path.ends_with("/rp_filter") && value == "1")
      strict += fmt::format("{}{}", strict.empty() ? "" : ", ", sysctl_assignment(path, value));
  if (strict.empty()) {
    out.push_back({Severity::ok, "rp_filter", "no strict reverse path filter", {}});
    return;
  }
  const std::string* valid = value_of(host, "net/ipv4/conf/all/src_valid_mark");
  const bool marked = valid != nullptr && *valid == "1";
  out.push_back({marked                  ? Severity::ok
                 : host.sysctls_writable ? Severity::warn
                                         : Severity::error,
                 "rp_filter",
                 fmt::format("the reverse path filter is strict ({}); {}", strict,
                             marked ? "it respects marks (src_valid_mark=1)"
                                    : "it ignores marks, and drops answers that belong elsewhere"),
                 marked ? std::string() : "sysctl -w net.ipv4.conf.all.src_valid_mark=1"});
}

void judge_conntrack(const Inputs& wanted, const HostState& host, Findings& out) {
  const auto most = number_of(host, "net/netfilter/nf_conntrack_max");
  const auto count = number_of(host, "net/netfilter/nf_conntrack_count");
  if (!most || *most == 0) {
    out.push_back({Severity::warn, "conntrack", "connection tracking is not loaded yet",
                   "modprobe nf_conntrack"});
    return;
  }
  const std::uint64_t bigger = std::max(enough_flows * 2, *most * 2);
  const std::string raise = fmt::format("sysctl -w net.netfilter.nf_conntrack_max={}", bigger);
  const auto before = out.size();
  if (count && *count * 10 >= *most * 8)
    out.push_back(
        {*count * 100 >= *most * 95 ? Severity::error : Severity::warn, "conntrack",
         fmt::format("{} of {} connections are in use: new ones are dropped when it is full",
                     *count, *most),
         raise});
  else if (wanted.serve_exit && *most < enough_flows)
    out.push_back({Severity::warn, "conntrack",
                   fmt::format("an exit for a cluster with room for {} connections only", *most),
                   raise});
  if (host.memory_bytes > 0 && *most * bytes_per_flow > host.memory_bytes / 4)
    out.push_back(
        {Severity::warn, "conntrack",
         fmt::format("{} connections would take {} MiB, more than a quarter of the memory", *most,
                     *most * bytes_per_flow >> 20),
         fmt::format("sysctl -w net.netfilter.nf_conntrack_max={}",
                     host.memory_bytes / 4 / bytes_per_flow)});
  if (out.size() == before)
    out.push_back({Severity::ok,
                   "conntrack",
                   fmt::format("{} of {} connections are in use", count.value_or(0), *most),
                   {}});
}

void judge_mtu(const Inputs& wanted, const HostState& host, Findings& out) {
  if (!wanted.routing || wanted.routing->ipv6 != Ipv6Mode::exit) return;
  const auto before = out.size();
  const auto complain = [&](const std::string& name, unsigned mtu, std::string remedy) {
    out.push_back(
        {Severity::error, "mtu",
         fmt::format("{} has an MTU of {}: IPv6 needs {} (the kernel refuses addresses below, "
                     "and takes them away)",
                     name, mtu, ipv6_minimum_mtu),
         std::move(remedy)});
  };
  const auto is_pods = [&](const IfName& name) {
    return std::ranges::find(wanted.routing->interfaces, name) != wanted.routing->interfaces.end();
  };
  for (const LinkFacts& link : host.facts.links)
    if (is_pods(link.name) && link.mtu > 0 && link.mtu < ipv6_minimum_mtu)
      complain(link.name.str(), link.mtu,
               "set routing.ipv6 to block, or carry the overlay on a link of at least 1350 bytes "
               "(Flannel VXLAN takes 70)");
  for (const TunnelLink& link : wanted.links)
    if (link.mtu > 0 && link.mtu < ipv6_minimum_mtu)
      complain(link.name.str(), link.mtu,
               "set routing.ipv6 to block, or reach the peer over a path of at least 1360 bytes");
  if (out.size() == before)
    out.push_back({Severity::ok, "mtu", "every link that carries pods' IPv6 has room for it", {}});
}

// A CNI that was told to use the tunnels' addresses. It reads the link's MTU once, at its start;
// the tunnel's follows the path.
void judge_overlay_mtu(const Inputs& wanted, const HostState& host, Findings& out) {
  const auto is_tunnel = [&](const LinkFacts& link) {
    return std::ranges::find(wanted.links, link.name, &TunnelLink::name) != wanted.links.end();
  };
  const LinkFacts* smallest = nullptr;
  for (const LinkFacts& link : host.facts.links)
    if (is_tunnel(link) && link.mtu > 0 && (smallest == nullptr || link.mtu < smallest->mtu))
      smallest = &link;
  if (smallest == nullptr) return;
  for (const OverlayLink& link : host.overlays) {
    if (std::ranges::find(wanted.tunnel_addresses, link.outer) == wanted.tunnel_addresses.end())
      continue;
    const unsigned header = overlay_header(link.outer.family());
    const unsigned room = smallest->mtu > header ? smallest->mtu - header : 0;
    if (link.mtu <= room)
      out.push_back({Severity::ok,
                     "mtu",
                     fmt::format("{} with {} fits {} with {}", link.name.str(), link.mtu,
                                 smallest->name.str(), smallest->mtu),
                     {}});
    else
      out.push_back(
          {Severity::warn, "mtu",
           fmt::format("{} has an MTU of {} and takes {} bytes more on {}, which carries "
                       "{}: what is larger is cut in pieces or lost",
                       link.name.str(), link.mtu, header, smallest->name.str(), smallest->mtu),
           fmt::format("set the MTU of {} and of the pods to {} or less", link.name.str(), room)});
  }
}

struct FeatureText {
  const char* name;
  Severity without;
  const char* what;
  const char* remedy;
};
constexpr FeatureText feature_texts[] = {
    {"nft", Severity::error, "the nft program", "apt-get install --no-install-recommends nftables"},
    {"nft_inet_nat", Severity::error, "nftables' translation in inet tables",
     "modprobe nft_chain_nat; the kernel needs CONFIG_NFT_NAT (5.2 or newer)"},
    {"nft_reject_prerouting", Severity::warn, "nftables' reject in prerouting (resets at a switch)",
     "modprobe nft_reject_inet; needs Linux 5.9 or newer"},
    {"nft_fib", Severity::error, "nftables' fib expression", "modprobe nft_fib_inet"},
    {"nft_tproxy", Severity::error, "nftables' tproxy statement",
     "modprobe nft_tproxy; or use mode: redirect in proxy.listeners.intercept"},
    {"wireguard", Severity::ok, "WireGuard in the kernel", ""},
    {"tun", Severity::warn, "/dev/net/tun for wireguard-go", "modprobe tun"},
    {"conntrack_events", Severity::warn, "connection tracking's events",
     "sysctl -w net.netfilter.nf_conntrack_events=1; the kernel needs CONFIG_NF_CONNTRACK_EVENTS"},
    {"conntrack_acct", Severity::ok, "connection tracking's byte counts",
     "sysctl -w net.netfilter.nf_conntrack_acct=1"},
};

void judge_features(const Inputs& wanted, const HostState& host, Findings& out) {
  const auto there = [&](const std::string& name) {
    const auto found = host.features.find(name);
    return found == host.features.end() ? std::nullopt : std::optional(found->second);
  };
  for (const FeatureText& feature : feature_texts) {
    const auto has = there(feature.name);
    if (!has) continue;
    // Either of the two carries tunnels.
    const bool needless = std::string_view(feature.name) == "tun" && there("wireguard") == true;
    const Severity severity = *has || needless ? Severity::ok : feature.without;
    out.push_back({severity, "features",
                   fmt::format("{} is {}", feature.what, *has ? "there" : "not there"),
                   *has || needless ? std::string() : std::string(feature.remedy)});
  }
  const auto flowtable = there("flowtable");
  const bool asked = wanted.routing && wanted.routing->flowtable;
  if (flowtable && (asked || *flowtable))
    out.push_back(
        {*flowtable ? Severity::ok : Severity::warn, "features",
         fmt::format("nftables' flowtables are {}",
                     *flowtable ? "there" : "not there: routing.flowtable changes nothing"),
         *flowtable ? ""
                    : "modprobe -a nft_flow_offload nf_flow_table_inet, or set routing.flowtable "
                      "to false"});
  if (!wanted.links.empty() && there("wireguard") == false && there("tun") == false)
    out.push_back({Severity::error, "features", "nothing here can carry a tunnel",
                   "modprobe wireguard, or modprobe tun and install wireguard-go"});
}

}  // namespace

void judge_kernel(const Inputs& wanted, const HostState& host, Findings& out) {
  if (wanted.routing || wanted.serve_exit) {
    judge_forwarding(wanted, host, out);
    judge_reverse_path(host, out);
    judge_conntrack(wanted, host, out);
    judge_mtu(wanted, host, out);
  }
  judge_overlay_mtu(wanted, host, out);
  judge_features(wanted, host, out);
}

}  // namespace detail

std::vector<Finding> judge_host(const Inputs& wanted, const HostState& host) {
  std::vector<Finding> out;
  detail::judge_firewalls(wanted, host, out);
  detail::judge_numbers(wanted, host, out);
  detail::judge_neighbours(wanted, host, out);
  detail::judge_kernel(wanted, host, out);
  return out;
}

const char* to_string(Severity severity) {
  return severity == Severity::ok ? "ok" : severity == Severity::warn ? "warn" : "error";
}

}  // namespace oceanid::routing
