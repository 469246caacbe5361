#include "routing/core/named_set.hpp"

#include "routing/core/model.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::size_t roughly = 20;  // characters of an element

std::string head_of(const NamedSet& set) {
  return fmt::format("add element inet {} {} {{ ", nft_table, set.name);
}

void write_elements(std::string& out, const NamedSet& set) {
  out += head_of(set);
  bool first = true;
  for (const Prefix& prefix : set.prefixes) {
    if (!std::exchange(first, false)) out += ", ";
    out += element_text(prefix);
  }
  out += " }\n";
}

constexpr std::string_view left_out_head = "# the elements are not repeated here: ";

}  // namespace

std::vector<Prefix> normal(std::vector<Prefix> prefixes) {
  if (!std::ranges::is_sorted(prefixes)) std::ranges::sort(prefixes);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < prefixes.size(); ++i)
    if (kept == 0 || !prefixes[kept - 1].contains(prefixes[i])) prefixes[kept++] = prefixes[i];
  prefixes.resize(kept);
  return prefixes;
}

std::vector<SetDifference> difference(const std::vector<NamedSet>& from,
                                      const std::vector<NamedSet>& to) {
  std::vector<SetDifference> out;
  for (const NamedSet& wanted : to) {
    const auto present = std::ranges::find(from, wanted.name, &NamedSet::name);
    if (present == from.end() || present->prefixes == wanted.prefixes) continue;
    SetDifference& change = out.emplace_back(SetDifference{wanted.name, {}, {}});
    std::ranges::set_difference(present->prefixes, wanted.prefixes,
                                std::back_inserter(change.removed));
    std::ranges::set_difference(wanted.prefixes, present->prefixes,
                                std::back_inserter(change.added));
  }
  return out;
}

std::vector<ElementChange> changes_of(std::vector<SetDifference> differences) {
  std::vector<ElementChange> out;
  for (SetDifference& change : differences) {
    if (!change.removed.empty())
      out.push_back({change.name, ElementAction::remove, std::move(change.removed), {}});
    if (!change.added.empty())
      out.push_back({change.name, ElementAction::add, std::move(change.added), {}});
  }
  return out;
}

std::string element_text(const Prefix& prefix) {
  return prefix.is_host() ? prefix.address().to_string() : prefix.to_string();
}

std::string text_of(const NftTables& tables) {
  std::string out = tables.text;
  std::size_t more = 0;
  for (const NamedSet& set : tables.sets)
    more += 64 + set.prefixes.size() * roughly;
  out.reserve(out.size() + more);
  for (const NamedSet& set : tables.sets)
    if (!set.prefixes.empty()) write_elements(out, set);
  return out;
}

std::string shortened_text_of(const NftTables& tables, std::size_t most) {
  std::string out = tables.text;
  for (const NamedSet& set : tables.sets) {
    if (set.prefixes.size() > most)
      out += fmt::format("{}{}\n", left_out_head, set.name);
    else if (!set.prefixes.empty())
      write_elements(out, set);
  }
  return out;
}

ReadTables read_shortened(std::string_view text) {
  ReadTables out;
  const std::string head = fmt::format("add element inet {} ", nft_table);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end);
    if (line.starts_with(left_out_head)) {
      line.remove_prefix(left_out_head.size());
      out.left_out.emplace_back(line.substr(0, line.find('\n')));
      continue;
    }
    if (!line.starts_with(head)) {
      out.tables.text += line;
      continue;
    }
    line.remove_prefix(head.size());
    NamedSet set;
    set.name = std::string(line.substr(0, line.find(' ')));
    if (set.name.ends_with('6')) set.family = Family::v6;
    std::vector<Prefix> prefixes;
    line.remove_prefix(std::min(line.find("{ "), line.size()));
    while (line.size() > 2) {
      line.remove_prefix(2);  // "{ " or ", "
      const std::size_t length = std::min(line.find_first_of(", "), line.size());
      if (auto prefix = Prefix::parse(line.substr(0, length))) prefixes.push_back(*prefix);
      line.remove_prefix(length);
      if (!line.starts_with(", ")) break;
    }
    set.prefixes = std::move(prefixes);
    out.tables.sets.push_back(std::move(set));
  }
  return out;
}

}  // namespace oceanid::routing
