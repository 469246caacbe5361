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

std::string element(const Prefix& prefix) {
  return prefix.is_host() ? prefix.address().to_string() : prefix.to_string();
}

std::string join(const std::vector<std::string>& parts) {
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string quoted_set(const std::vector<std::string>& quoted) {
  return quoted.size() == 1 ? quoted.front() : "{ " + join(quoted) + " }";
}

// Elements that another one contains are left out: some nft versions refuse overlaps, and a reader
// is better served. In sorted order what contains a prefix comes before it, and nothing that lies
// outside comes between.
Prefixes outermost(const Prefixes& prefixes) {
  Prefixes out;
  for (const Prefix& prefix : unique(prefixes))
    if (out.empty() || !out.back().contains(prefix)) out.push_back(prefix);
  return out;
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
  return quoted_set(quoted);
}

std::string inline_set(const Prefixes& prefixes) {
  std::vector<std::string> parts;
  for (const Prefix& prefix : outermost(prefixes))
    parts.push_back(element(prefix));
  return "{ " + join(parts) + " }";
}

void NftWriter::set(const std::string& name, const Prefixes& prefixes) {
  for (const Family family : families) {
    Prefixes elements = outermost(of_family(prefixes, family));
    if (!elements.empty()) sets_[name + digit(family)] = std::move(elements);
  }
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

std::string NftWriter::text(const std::vector<std::string_view>& counters) const {
  std::string out =
      fmt::format("table inet {0}\ndelete table inet {0}\ntable inet {0} {{\n", nft_table);
  for (const std::string_view counter : counters)
    out += fmt::format("  counter {} {{ }}\n", counter);
  out += "\n";
  for (const auto& [name, prefixes] : sets_) {
    std::vector<std::string> elements;
    for (const Prefix& prefix : prefixes)
      elements.push_back(element(prefix));
    out += fmt::format(
        "  set {} {{\n    type {}; flags interval; auto-merge;\n    elements = {{ {} }}\n  }}\n\n",
        name, name.ends_with('4') ? "ipv4_addr" : "ipv6_addr", join(elements));
  }
  out += keyed_sets_ + declared_ + body_;
  out.pop_back();  // the empty line behind the last chain
  return out + "}\n";
}

}  // namespace oceanid::routing::detail
