#include "proxy/core/rule.hpp"

#include "proxy/core/client_acl.hpp"
#include "proxy/core/embedded_v4.hpp"
#include "proxy/core/target.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

constexpr std::size_t max_port_ranges = 64;

std::unexpected<Error> refuse(std::string what) {
  return fail(Errc::invalid_argument, std::move(what));
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto port = parse_decimal(text, 65535);
  if (!port || *port == 0) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

Result<std::vector<PortRange>> parse_ports(std::string_view text) {
  std::vector<PortRange> out;
  while (true) {
    const auto comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const auto dash = part.find('-');
    const auto first = parse_port(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_port(part.substr(dash + 1));
    if (!first || !last)
      return refuse("a port is a number from 1 to 65535, or two of them with '-' between");
    if (*first > *last) return refuse("a range of ports begins with the smaller one");
    if (out.size() == max_port_ranges) return refuse("too many ports in one entry");
    out.push_back({*first, *last});
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

struct Parts {
  std::string_view host;
  std::string_view ports;  // without the colon
  bool has_ports = false;
  bool bracketed = false;
};

Result<Parts> split(std::string_view text) {
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return refuse("the bracket is not closed");
    Parts out{text.substr(1, close - 1), text.substr(close + 1), false, true};
    if (out.ports.empty()) return out;
    if (!out.ports.starts_with(':')) return refuse("only :PORTS may follow the bracket");
    out.ports.remove_prefix(1);
    out.has_ports = true;
    return out;
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || Prefix::parse(text)) return Parts{text, {}, false, false};
  if (text.find(':', colon + 1) != std::string_view::npos)
    return refuse("an IPv6 address needs brackets before a port");
  return Parts{text.substr(0, colon), text.substr(colon + 1), true, false};
}

// The mapped form of an IPv4 block means that block.
Prefix plain(const Prefix& prefix) {
  const IpAddress inner = unmapped(prefix.address());
  if (inner.is_v4() == prefix.address().is_v4() || prefix.length() < 96) return prefix;
  return Prefix::make(inner, prefix.length() - 96).value_or(prefix);
}

Result<Rule> parse_host(const Parts& parts) {
  Rule out;
  const auto prefix = Prefix::parse(parts.host);
  if (prefix) {
    if (parts.bracketed && prefix->family() == Family::v4)
      return refuse("brackets hold an IPv6 address or prefix");
    out.kind = Rule::Kind::address;
    out.prefix = plain(*prefix);
    return out;
  }
  if (parts.bracketed || parts.host.contains('/')) return refuse(prefix.error().what);
  if (parts.host == "*") return out;
  std::string_view name = parts.host;
  out.kind = Rule::Kind::exact;
  if (name.starts_with("*.")) {
    out.kind = Rule::Kind::suffix;
    name.remove_prefix(2);
  }
  if (name.contains('*')) return refuse("'*' stands for whole labels in front: *.example.com");
  auto host = canonical_host(name);
  if (!host) return refuse(host.error().what);
  // 0x7f.1 and its kin: an operator's slip, and not what Prefix::parse would take.
  if (IpAddress::parse(*host)) return refuse("an IPv4 address has four decimal parts");
  out.host = std::move(*host);
  return out;
}

}  // namespace

bool Rule::takes_port(std::uint16_t port) const {
  return ports.empty() || std::ranges::any_of(ports, [&](const PortRange& range) {
           return port >= range.first && port <= range.last;
         });
}

Result<Rule> parse_rule(std::string_view text) {
  const auto parts = split(text);
  if (!parts) return std::unexpected(parts.error());
  auto rule = parse_host(*parts);
  if (!rule) return rule;
  if (parts->has_ports) {
    auto ports = parse_ports(parts->ports);
    if (!ports) return std::unexpected(std::move(ports.error()));
    rule->ports = std::move(*ports);
  }
  rule->text = text;
  return rule;
}

void RuleSet::add(Rule rule, bool deny) {
  switch (rule.kind) {
    case Rule::Kind::any:
      any_.push_back({std::move(rule), deny});
      return;
    case Rule::Kind::exact:
      exact_[rule.host].push_back({rule, deny});
      return;
    case Rule::Kind::suffix:
      suffix_[rule.host].push_back({rule, deny});
      return;
    case Rule::Kind::address:
      addresses_.push_back({std::move(rule), deny});
      return;
  }
}

void RuleSet::finish() {
  const auto before = [](const Entry& a, const Entry& b) {
    return std::tuple(a.rule.prefix.length(), a.deny, a.rule.names_port()) >
           std::tuple(b.rule.prefix.length(), b.deny, b.rule.names_port());
  };
  std::ranges::sort(any_, before);
  std::ranges::sort(addresses_, before);
  for (ByName* names : {&exact_, &suffix_})
    for (auto& [name, entries] : *names)
      std::ranges::sort(entries, before);
}

std::optional<RuleSet::Match> RuleSet::first_of(const std::vector<Entry>& entries,
                                                std::uint16_t port) {
  for (const Entry& entry : entries)
    if (entry.rule.takes_port(port)) return Match{&entry.rule, entry.deny};
  return std::nullopt;
}

std::optional<RuleSet::Match> RuleSet::find(const ByName& names, std::string_view name,
                                            std::uint16_t port) {
  const auto entry = names.find(name);
  if (entry == names.end()) return std::nullopt;
  return first_of(entry->second, port);
}

std::optional<RuleSet::Match> RuleSet::match_name(std::string_view name, std::uint16_t port) const {
  if (const auto match = find(exact_, name, port)) return match;
  while (true) {
    const auto dot = name.find('.');
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
    if (const auto match = find(suffix_, name, port)) return match;
  }
  return first_of(any_, port);
}

std::optional<RuleSet::Match> RuleSet::longest(const IpAddress& address, std::uint16_t port) const {
  for (const Entry& entry : addresses_)
    if (entry.rule.prefix.contains(address) && entry.rule.takes_port(port))
      return Match{&entry.rule, entry.deny};
  return std::nullopt;
}

std::optional<RuleSet::Match> RuleSet::match_address(const IpAddress& address, std::uint16_t port,
                                                     bool asked) const {
  const IpAddress outer = unmapped(address);
  auto match = longest(outer, port);
  if (match && match->deny) return match;
  if (!addresses_.empty())
    for (const EmbeddedV4& part : embedded_v4(outer))
      if (const auto inner = longest(part.inner, port); inner && inner->deny) return inner;
  if (!match && asked) match = first_of(any_, port);
  return match;
}

bool RuleSet::allows_addresses(std::uint16_t port) const {
  return std::ranges::any_of(
      addresses_, [&](const Entry& entry) { return !entry.deny && entry.rule.takes_port(port); });
}

}  // namespace oceanid::proxy
