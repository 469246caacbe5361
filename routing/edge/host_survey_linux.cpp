#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/state_file.hpp"
#include "routing/edge/host_survey.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/netlink_attributes.hpp"
#include "routing/edge/netlink_codec.hpp"
#include "routing/edge/nft_listing.hpp"
#include "routing/edge/overlay_links.hpp"
#include "routing/edge/program_linux.hpp"

#include <algorithm>
#include <set>

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <sys/sysinfo.h>
#include <unistd.h>

namespace oceanid::routing {
namespace {

constexpr std::uint32_t most_system_tables = 253;

std::optional<Prefix> prefix_of(const Attributes& attributes, std::uint16_t type, Family family,
                                unsigned length) {
  const auto address = attributes.address(type, family);
  if (!address || length == 0 || length > address->bits()) return std::nullopt;
  return network_of(*address, length);
}

// Unlike decode_rule(): what others wrote, as far as it matters whether it meets pods' packets.
std::optional<ForeignRule> foreign_rule(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWRULE ||
      mnl_nlmsg_get_payload_len(&message) < sizeof(fib_rule_hdr))
    return std::nullopt;
  const auto& head = *static_cast<const fib_rule_hdr*>(mnl_nlmsg_get_payload(&message));
  if (head.family != AF_INET && head.family != AF_INET6) return std::nullopt;
  const auto attributes = Attributes::of(message, sizeof(fib_rule_hdr));
  if (attributes.u8(FRA_PROTOCOL) == route_protocol) return std::nullopt;
  ForeignRule rule;
  rule.family = head.family == AF_INET ? Family::v4 : Family::v6;
  rule.priority = attributes.u32(FRA_PRIORITY).value_or(0);
  rule.from = prefix_of(attributes, FRA_SRC, rule.family, head.src_len);
  rule.iif = attributes.interface(FRA_IIFNAME);
  if (attributes.has(FRA_FWMARK) || attributes.has(FRA_FWMASK))
    rule.mark =
        Mark{attributes.u32(FRA_FWMARK).value_or(0), attributes.u32(FRA_FWMASK).value_or(~0U)};
  if (head.action == FR_ACT_TO_TBL) rule.table = attributes.u32(FRA_TABLE).value_or(head.table);
  rule.inverted = (head.flags & FIB_RULE_INVERT) != 0;
  rule.narrow = attributes.interface(FRA_OIFNAME).has_value() || attributes.has(FRA_UID_RANGE) ||
                attributes.u8(FRA_L3MDEV).value_or(0) != 0 || head.action == FR_ACT_NOP;
  return rule;
}

Result<std::vector<ForeignRule>> foreign_rules(NetlinkSocket& socket) {
  std::vector<ForeignRule> out;
  for (const int family : {AF_INET, AF_INET6}) {
    std::vector<ForeignRule> found;
    Message ask(RTM_GETRULE, NLM_F_DUMP);
    ask.extra<fib_rule_hdr>().family = static_cast<std::uint8_t>(family);
    auto dumped = socket.dump(
        ask, [&] { found.clear(); },
        [&](const nlmsghdr& message) {
          if (auto rule = foreign_rule(message)) found.push_back(std::move(*rule));
        });
    if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading rules"));
    std::ranges::move(found, std::back_inserter(out));
  }
  return out;
}

Result<std::vector<ForeignTable>> foreign_tables(NetlinkSocket& socket) {
  std::map<std::uint32_t, bool> found;
  for (const Family family : {Family::v4, Family::v6}) {
    auto dumped = socket.dump(
        encode_route_dump(family, /*protocol=*/0, /*table=*/0), [] {},
        [&](const nlmsghdr& message) {
          const auto decoded = decode_route(message);
          if (!decoded || decoded->protocol == route_protocol ||
              (decoded->route.table >= most_system_tables && decoded->route.table <= 255))
            return;
          bool& has_default = found[decoded->route.table];
          has_default = has_default || (decoded->route.destination.length() == 0 &&
                                        decoded->route.type == RouteType::unicast);
        });
    if (!dumped) return std::unexpected(std::move(dumped.error()).context("reading routes"));
  }
  std::vector<ForeignTable> out;
  for (const auto& [table, has_default] : found)
    out.push_back({table, has_default});
  return out;
}

void read_sysctls(LinuxKernel& kernel, const Inputs& wanted, HostState& out) {
  std::set<std::string> paths = {"net/ipv4/ip_forward",
                                 "net/ipv6/conf/all/forwarding",
                                 "net/ipv4/conf/all/rp_filter",
                                 "net/ipv4/conf/all/src_valid_mark",
                                 "net/netfilter/nf_conntrack_max",
                                 "net/netfilter/nf_conntrack_count",
                                 "net/netfilter/nf_conntrack_events",
                                 "net/netfilter/nf_conntrack_acct"};
  const auto filter_of = [&](const IfName& name) {
    paths.insert("net/ipv4/conf/" + name.str() + "/rp_filter");
  };
  std::ranges::for_each(wanted.uplinks, filter_of);
  for (const IfName& uplink : wanted.uplinks)
    paths.insert("net/ipv6/conf/" + uplink.str() + "/accept_ra");
  if (wanted.routing) std::ranges::for_each(wanted.routing->interfaces, filter_of);
  for (const ExitPath& exit : wanted.exits)
    if (!exit.tunnel) filter_of(exit.device);
  for (const std::string& path : paths)
    if (auto value = kernel.read_sysctl(path)) out.sysctls[path] = std::move(*value);
  out.sysctls_writable = ::access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0;
}

bool accepted(const std::string& inside) {
  const auto ran =
      run_program({"nft", "-c", "-f", "-"}, "table inet oceanid_probe {\n" + inside + "\n}\n");
  return ran && ran->status == 0;
}

void try_features(const Inputs& wanted, HostState& out) {
  const auto version = run_program({"nft", "--version"}, {});
  out.features["nft"] = version && version->status == 0;
  if (out.features["nft"] && ::geteuid() == 0) {
    out.features["nft_inet_nat"] =
        accepted("chain c { type nat hook postrouting priority 99; oifname lo masquerade; }");
    out.features["nft_reject_prerouting"] = accepted(
        "chain c { type filter hook prerouting priority 0; tcp dport 9 reject with tcp reset; }");
    out.features["nft_fib"] =
        accepted("chain c { type filter hook prerouting priority 0; fib daddr type local; }");
    if (std::ranges::any_of(wanted.interceptions, &Interception::tproxy))
      out.features["nft_tproxy"] = accepted(
          "chain c { type filter hook prerouting priority 0; meta l4proto tcp tproxy to :9; }");
    out.features["flowtable"] = accepted(
        "flowtable f { hook ingress priority 0; devices = { lo }; counter; }\n"
        "chain c { type filter hook forward priority 10; flow add @f; }");
  }
  out.features["tun"] = ::access("/dev/net/tun", F_OK) == 0;
  const auto is = [&](const char* path, const char* value) {
    const auto found = out.sysctls.find(path);
    return found != out.sysctls.end() && found->second == value;
  };
  out.features["conntrack_events"] =
      is("net/netfilter/nf_conntrack_events", "1") || is("net/netfilter/nf_conntrack_events", "2");
  out.features["conntrack_acct"] = is("net/netfilter/nf_conntrack_acct", "1");
}

// Tables of the legacy iptables that hold anything are named here.
bool has_legacy_iptables() {
  for (const char* path : {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"})
    if (const auto names = read_small_file(path, 4096); names && !names->empty()) return true;
  return false;
}

}  // namespace

Result<HostState> survey_host(const Inputs& wanted, Depth depth) {
  asio::io_context io(1);
  auto kernel = LinuxKernel::open(io.get_executor());
  if (!kernel) return std::unexpected(std::move(kernel.error()));
  auto socket = NetlinkSocket::open(NETLINK_ROUTE);
  if (!socket) return std::unexpected(std::move(socket.error()));
  HostState out;
  auto facts = (*kernel)->facts();
  if (!facts) return std::unexpected(std::move(facts.error()));
  out.facts = std::move(*facts);
  auto overlays = overlay_links();
  if (!overlays) return std::unexpected(std::move(overlays.error()));
  out.overlays = std::move(*overlays);
  auto rules = foreign_rules(*socket);
  if (!rules) return std::unexpected(std::move(rules.error()));
  out.rules = std::move(*rules);
  read_sysctls(**kernel, wanted, out);
  out.networkd = read_networkd("");
  struct sysinfo memory{};
  if (::sysinfo(&memory) == 0) out.memory_bytes = std::uint64_t{memory.totalram} * memory.mem_unit;
  if (depth == Depth::cheap) return out;
  auto tables = foreign_tables(*socket);
  if (!tables) return std::unexpected(std::move(tables.error()));
  out.tables = std::move(*tables);
  out.legacy_iptables = has_legacy_iptables();
  const auto listing = run_program({"nft", "-j", "list", "ruleset"}, {});
  if (listing && listing->status == 0)
    if (auto survey = survey_of_listing(listing->output)) out.nft = std::move(*survey);
  try_features(wanted, out);
  return out;
}

}  // namespace oceanid::routing
