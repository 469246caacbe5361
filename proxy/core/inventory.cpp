#include "proxy/core/inventory.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace oceanid::proxy {

void Inventory::reached(const std::string& role, const HostPort& destination,
                        std::string_view rule) {
  note(role, destination, rule, 1);
}

void Inventory::note(const std::string& role, const HostPort& destination, std::string_view rule,
                     std::uint64_t count) {
  auto entry = roles_.find(role);
  if (entry == roles_.end()) {
    if (roles_.size() >= max_roles) return;
    entry = roles_.emplace(role, Role()).first;
  }
  Use& use = entry->second.destinations[destination];
  use.count += count;
  use.rule = rule;
  if (entry->second.destinations.size() >= 2 * max_destinations) fold(entry->second);
}

// Half of them at once, so that a flood of new names costs each of them little.
void Inventory::fold(Role& role) {
  std::vector<std::uint64_t> counts;
  for (const auto& [destination, use] : role.destinations)
    counts.push_back(use.count);
  std::ranges::nth_element(counts, counts.begin() + max_destinations, std::ranges::greater());
  const std::uint64_t least = counts[max_destinations];
  std::size_t keep_equal = max_destinations;
  for (const auto& [destination, use] : role.destinations)
    if (use.count > least) --keep_equal;
  for (auto at = role.destinations.begin(); at != role.destinations.end();) {
    const std::uint64_t count = at->second.count;
    if (count > least || (count == least && keep_equal > 0)) {
      if (count == least) --keep_equal;
      ++at;
      continue;
    }
    role.other += count;
    at = role.destinations.erase(at);
  }
}

void Inventory::add(const RoleInventory& other) {
  for (const ReachedDestination& one : other.destinations)
    note(other.role, {one.host, one.port}, one.rule, one.count);
  if (const auto entry = roles_.find(other.role); entry != roles_.end())
    entry->second.other += other.other;
}

RoleInventory Inventory::of(const std::string& role) const {
  RoleInventory out;
  out.role = role;
  const auto entry = roles_.find(role);
  if (entry == roles_.end()) return out;
  out.other = entry->second.other;
  for (const auto& [destination, use] : entry->second.destinations)
    out.destinations.push_back({destination.host, destination.port, use.count, use.rule});
  std::ranges::sort(out.destinations, std::ranges::greater(), &ReachedDestination::count);
  return out;
}

std::vector<std::string> suggest_allow(const RoleInventory& inventory) {
  std::set<std::string> entries;
  std::map<std::string, std::set<std::uint16_t>> hosts;
  for (const ReachedDestination& one : inventory.destinations) {
    if (one.rule.empty())
      hosts[one.host].insert(one.port);
    else
      entries.insert(one.rule);
  }
  std::vector<std::string> out(entries.begin(), entries.end());
  for (const auto& [host, ports] : hosts)
    out.push_back(
        fmt::format("{}:{}", host.contains(':') ? "[" + host + "]" : host, fmt::join(ports, ",")));
  return out;
}

std::string_view allow_entry_of(std::string_view rule) {
  constexpr std::string_view roles = "proxy.policy.roles.";
  constexpr std::string_view allow = ".allow: ";
  const auto at = rule.find(allow);
  if (!rule.starts_with(roles) || at == std::string_view::npos) return {};
  const auto text = rule.substr(at + allow.size());
  return text.contains(' ') ? std::string_view() : text;  // a sentence: nothing there fits
}

}  // namespace oceanid::proxy
