// Changes as text, in the words of `ip` and `sysctl`, for `oceanid plan`, errors and logs.

#include "routing/core/diff.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_icmp6 = 58;
constexpr std::uint8_t protocol_tcp = 6;
constexpr std::uint8_t protocol_udp = 17;

std::string protocol_name(std::uint8_t protocol) {
  if (protocol == protocol_icmp) return "icmp";
  if (protocol == protocol_icmp6) return "ipv6-icmp";
  if (protocol == protocol_tcp) return "tcp";
  if (protocol == protocol_udp) return "udp";
  return std::to_string(protocol);
}

struct ActionText {
  std::string operator()(const Lookup& a) const {
    return fmt::format("lookup {}{}", a.table, a.specific ? " suppress_prefixlength 0" : "");
  }
  std::string operator()(const Goto& a) const { return fmt::format("goto {}", a.priority); }
  std::string operator()(const Nop&) const { return "nop"; }
  std::string operator()(const Unreachable&) const { return "unreachable"; }
  std::string operator()(const Blackhole&) const { return "blackhole"; }
};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

// Longest common subsequence by the plain table; rulesets are a few hundred lines. Beyond the limit
// all old lines go and all new ones come, which is true, too.
std::string line_diff(std::string_view from, std::string_view to) {
  constexpr std::size_t limit = 2'000'000;
  auto before = lines_of(from);
  auto after = lines_of(to);
  const std::size_t rows = before.size() + 1;
  const std::size_t columns = after.size() + 1;
  if (rows * columns > limit)
    return fmt::format("  ~ {} lines -> {} lines\n", rows - 1, columns - 1);
  std::vector<std::uint32_t> common(rows * columns, 0);
  for (std::size_t i = before.size(); i-- > 0;)
    for (std::size_t j = after.size(); j-- > 0;)
      common[i * columns + j] = before[i] == after[j] ? common[(i + 1) * columns + j + 1] + 1
                                                      : std::max(common[(i + 1) * columns + j],
                                                                 common[i * columns + j + 1]);
  std::string out;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < before.size() || j < after.size()) {
    if (i < before.size() && j < after.size() && before[i] == after[j]) {
      ++i, ++j;
    } else if (j == after.size() || (i < before.size() && common[(i + 1) * columns + j] >=
                                                              common[i * columns + j + 1])) {
      out += fmt::format("  - {}\n", before[i++]);
    } else {
      out += fmt::format("  + {}\n", after[j++]);
    }
  }
  return out;
}

struct ChangeText {
  std::string operator()(const SetMtu& c) const {
    return fmt::format("~ {} mtu {} (was {})", c.link.str(), c.to, c.from);
  }
  std::string operator()(const SetUp& c) const {
    return fmt::format("~ {} {}", c.link.str(), c.up ? "up" : "down");
  }
  std::string operator()(const AddAddress& c) const {
    return fmt::format("+ {} address {}", c.link.str(), c.address.to_string());
  }
  std::string operator()(const DeleteAddress& c) const {
    return fmt::format("- {} address {}", c.link.str(), c.address.to_string());
  }
  std::string operator()(const AddRoute& c) const { return "+ " + to_string(c.route); }
  std::string operator()(const ReplaceRoute& c) const {
    return fmt::format("~ {} (was {})", to_string(c.to), to_string(c.from));
  }
  std::string operator()(const DeleteRoute& c) const { return "- " + to_string(c.route); }
  std::string operator()(const AddRule& c) const { return "+ " + to_string(c.rule); }
  std::string operator()(const DeleteRule& c) const { return "- " + to_string(c.rule); }
  std::string operator()(const NetlinkChange& c) const { return std::visit(*this, c); }
  std::string operator()(const WriteSysctl& c) const {
    return fmt::format("~ {} (was {})", sysctl_assignment(c.path, c.to), c.from);
  }
  std::string operator()(const ChangeElements& c) const {
    std::string out;
    for (const SetDifference& set : c.sets)
      out += fmt::format("{}~ elements of {}: +{} -{}", out.empty() ? "" : ", ", set.name,
                         set.added.size(), set.removed.size());
    return out;
  }
  std::string operator()(const ReplaceNft& c) const {
    return c.to.text.empty() ? "- nft tables of oceanid" : "~ nft tables of oceanid";
  }
  std::string operator()(const ReplaceOffload& c) const {
    if (c.to.empty()) return "- flowtable: every packet meets the rule set";
    return c.from && c.from->empty() ? "+ flowtable: established connections skip the rule set"
                                     : "~ flowtable made anew: its connections are decided again";
  }
};

enum class Group : std::uint8_t { nft, sysctls, links, routes, rules };
constexpr std::array group_names{"nft", "sysctls", "links", "routes", "rules"};

struct GroupOf {
  Group operator()(const AddRoute&) const { return Group::routes; }
  Group operator()(const ReplaceRoute&) const { return Group::routes; }
  Group operator()(const DeleteRoute&) const { return Group::routes; }
  Group operator()(const AddRule&) const { return Group::rules; }
  Group operator()(const DeleteRule&) const { return Group::rules; }
  Group operator()(const SetMtu&) const { return Group::links; }
  Group operator()(const SetUp&) const { return Group::links; }
  Group operator()(const AddAddress&) const { return Group::links; }
  Group operator()(const DeleteAddress&) const { return Group::links; }
  Group operator()(const NetlinkChange& c) const { return std::visit(*this, c); }
  Group operator()(const WriteSysctl&) const { return Group::sysctls; }
  Group operator()(const ReplaceNft&) const { return Group::nft; }
  Group operator()(const ChangeElements&) const { return Group::nft; }
  Group operator()(const ReplaceOffload&) const { return Group::nft; }
};

// The first few of each set and how many more.
std::string element_lines(const std::vector<SetDifference>& sets) {
  constexpr std::size_t shown = 10;
  std::string out;
  const auto list = [&](char sign, const std::string& name, const std::vector<Prefix>& prefixes) {
    for (std::size_t i = 0; i < std::min(shown, prefixes.size()); ++i)
      out += fmt::format("  {} {} {}\n", sign, name, element_text(prefixes[i]));
    if (prefixes.size() > shown)
      out += fmt::format("  {} {} and {} more\n", sign, name, prefixes.size() - shown);
  };
  for (const SetDifference& set : sets) {
    list('-', set.name, set.removed);
    list('+', set.name, set.added);
  }
  return out;
}

std::string nft_lines(const ReplaceNft& change) {
  std::string out;
  if (!change.from) out = "  ~ replaces tables whose text is not known\n";
  const NftTables from = change.from.value_or(NftTables{});
  out += line_diff(from.text, change.to.text);
  // A set that only one side has is compared with an empty one.
  std::vector<NamedSet> before;
  std::vector<NamedSet> after;
  for (const NamedSet& set : change.to.sets) {
    after.push_back(set);
    const auto same = std::ranges::find(from.sets, set.name, &NamedSet::name);
    before.push_back(same == from.sets.end() ? NamedSet{set.name, set.family, {}} : *same);
  }
  for (const NamedSet& set : from.sets)
    if (std::ranges::find(after, set.name, &NamedSet::name) == after.end()) {
      before.push_back(set);
      after.push_back({set.name, set.family, {}});
    }
  return out + element_lines(difference(before, after));
}

}  // namespace

std::string to_string(const Rule& rule) {
  std::string out =
      fmt::format("{}: from {}", rule.priority, rule.from ? rule.from->to_string() : "all");
  if (rule.to) out += " to " + rule.to->to_string();
  if (rule.iif) out += " iif " + rule.iif->str();
  if (rule.oif) out += " oif " + rule.oif->str();
  if (rule.mark) out += " fwmark " + rule.mark->to_string();
  if (rule.ip_protocol) out += " ipproto " + protocol_name(*rule.ip_protocol);
  if (rule.destination_port) out += fmt::format(" dport {}", *rule.destination_port);
  out += " " + std::visit(ActionText{}, rule.action);
  if (rule.family == Family::v6) out += " (ipv6)";
  return out;
}

std::string to_string(const Route& route) {
  std::string out;
  if (route.type == RouteType::unreachable) out = "unreachable ";
  if (route.type == RouteType::blackhole) out = "blackhole ";
  if (route.type == RouteType::local) out = "local ";
  out += route.destination.length() == 0 ? "default" : route.destination.to_string();
  if (route.gateway) out += " via " + route.gateway->to_string();
  if (route.device) out += " dev " + route.device->str();
  out += fmt::format(" table {}", route.table);
  if (route.source) out += " src " + route.source->to_string();
  if (route.metric != 0) out += fmt::format(" metric {}", route.metric);
  if (route.mtu) out += fmt::format(" mtu {}", *route.mtu);
  if (route.on_link) out += " onlink";
  if (route.family == Family::v6) out += " (ipv6)";
  return out;
}

std::string sysctl_assignment(std::string_view path, std::string_view value) {
  std::string name(path);
  if (name.find('.') == std::string::npos) std::ranges::replace(name, '/', '.');
  return fmt::format("{}={}", name, value);
}

std::string describe(const Change& change) {
  return std::visit(ChangeText{}, change);
}

std::string describe(const Changes& changes) {
  std::array<std::string, group_names.size()> groups;
  for (const Change& change : changes.steps) {
    auto& text = groups[static_cast<std::size_t>(std::visit(GroupOf{}, change))];
    if (const auto* nft = std::get_if<ReplaceNft>(&change))
      text += nft_lines(*nft);
    else if (const auto* elements = std::get_if<ChangeElements>(&change))
      text += element_lines(elements->sets);
    else
      text += fmt::format("  {}\n", describe(change));
  }
  std::string out;
  for (std::size_t i = 0; i < groups.size(); ++i)
    if (!groups[i].empty()) out += fmt::format("{}\n{}", group_names[i], groups[i]);
  if (out.empty()) out = "nothing to change\n";
  if (!changes.skipped.empty()) out += "skipped\n";
  for (const std::string& text : changes.skipped)
    out += fmt::format("  ! {}\n", text);
  return out;
}

}  // namespace oceanid::routing
