#include "routing/core/nft_writer.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

char digit(Family family) {
  return family == Family::v4 ? '4' : '6';
}
std::string_view protocol(Family family) {
  return family == Family::v4 ? "ip" : "ip6";
}

std::string join(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string any_of(const std::vector<std::string>& parts) {
  return parts.size() == 1 ? parts.front() : "{ " + join(parts) + " }";
}

}  // namespace

std::string names(const std::vector<IfName>& interfaces) {
  return names(interfaces, {});
}

std::string names(std::vector<IfName> interfaces, std::initializer_list<std::string_view> more) {
  std::vector<std::string> quoted;
  for (const IfName& name : interfaces)
    quoted.push_back(fmt::format("\"{}\"", name.str()));
  for (const std::string_view name : more)
    quoted.push_back(fmt::format("\"{}\"", name));
  return any_of(quoted);
}

std::string one_of(const std::vector<IpAddress>& addresses) {
  std::vector<std::string> parts;
  for (const IpAddress& address : addresses)
    parts.push_back(address.to_string());
  return any_of(parts);
}

std::string inline_set(const Prefixes& prefixes) {
  std::vector<std::string> parts;
  for (const Prefix& prefix : normal(prefixes))
    parts.push_back(element_text(prefix));
  return "{ " + join(parts) + " }";
}

void NftWriter::set(const std::string& name, const Prefixes& prefixes) {
  for (const Family family : families)
    set(name, family, normal(of_family(prefixes, family)));
}

void NftWriter::set(const std::string& name, Family family, const PrefixList& prefixes) {
  const std::string full = name + digit(family);
  if (!prefixes.empty()) sets_[full] = NamedSet{full, family, prefixes};
}

void NftWriter::keyed_set(const std::string& name, std::string_view type) {
  keyed_sets_ +=
      fmt::format("  set {} {{\n    type {}; flags timeout; size 65536;\n  }}\n\n", name, type);
}

bool NftWriter::has(const std::string& name, Family family) const {
  return sets_.contains(name + digit(family));
}

std::vector<std::string> NftWriter::in(std::string_view field, const std::string& name) const {
  std::vector<std::string> out;
  for (const Family family : families)
    if (has(name, family))
      out.push_back(fmt::format("{} {} @{}{}", protocol(family), field, name, digit(family)));
  return out;
}

std::vector<std::string> NftWriter::not_in(std::string_view field, const std::string& name) const {
  std::vector<std::string> out;
  for (const Family family : families) {
    if (has(name, family))
      out.push_back(fmt::format("{} {} != @{}{}", protocol(family), field, name, digit(family)));
    else
      out.push_back(fmt::format("meta nfproto ipv{}", digit(family)));
  }
  return out;
}

void NftWriter::begin(std::string_view chain, std::string_view hook) {
  body_ += fmt::format("  chain {} {{\n", chain);
  if (!hook.empty()) body_ += fmt::format("    type {}; policy accept;\n", hook);
}

void NftWriter::line(std::string_view rule) {
  body_ += fmt::format("    {}\n", rule);
}

void NftWriter::each(std::string_view before, const std::vector<std::string>& clauses,
                     std::string_view after) {
  for (const std::string& clause : clauses)
    line(fmt::format("{}{}{} {}", before, before.empty() ? "" : " ", clause, after));
}

NftTables NftWriter::tables(const std::vector<std::string_view>& counters) const {
  NftTables out;
  out.text = fmt::format("table inet {0}\ndelete table inet {0}\ntable inet {0} {{\n", nft_table);
  for (const std::string_view counter : counters)
    out.text += fmt::format("  counter {} {{ }}\n", counter);
  out.text += "\n";
  for (const auto& [name, set] : sets_) {
    out.text += fmt::format("  set {} {{ type {}; flags interval; }}\n", name,
                            set.family == Family::v4 ? "ipv4_addr" : "ipv6_addr");
    out.sets.push_back(set);
  }
  if (!sets_.empty()) out.text += "\n";
  out.text += keyed_sets_ + declared_ + body_;
  out.text.pop_back();  // the empty line behind the last chain
  out.text += "}\n";
  return out;
}

}  // namespace oceanid::routing::detail
