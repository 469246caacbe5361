#pragma once
// The named sets of `table inet oceanid` as values. The table's text declares them without
// elements; in the kernel's and in our list the elements are one to one: sorted, none inside
// another, and the set without `auto-merge`, so that each can be removed by itself. Pure.

#include "gateway/base/prefix_list.hpp"
#include "routing/core/elements.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace oceanid::routing {

// `type ipv4_addr; flags interval`, or ipv6_addr.
struct NamedSet {
  std::string name;
  Family family = Family::v4;
  PrefixList prefixes;  // normal()
  bool operator==(const NamedSet&) const = default;
};

// The tables as they are made: what `nft -f` is given is text_of().
struct NftTables {
  std::string text;  // empty: none of our tables
  std::vector<NamedSet> sets;
  bool operator==(const NftTables&) const = default;
};

struct SetDifference {
  std::string name;
  std::vector<Prefix> removed;
  std::vector<Prefix> added;
  bool operator==(const SetDifference&) const = default;
};

// Sorted, without what another one contains: in sorted order what contains a prefix comes before
// it, and nothing that lies outside comes between.
std::vector<Prefix> normal(std::vector<Prefix> prefixes);

// Of the sets that both have, in the order of `to`; equal ones are left out.
std::vector<SetDifference> difference(const std::vector<NamedSet>& from,
                                      const std::vector<NamedSet>& to);
// As changes of the kernel's: in each set what frees a range comes before what takes it.
std::vector<ElementChange> changes_of(std::vector<SetDifference> differences);

// The text, and an `add element` for every set: one transaction for `nft -f -`.
std::string text_of(const NftTables& tables);
std::string element_text(const Prefix& prefix);  // a host without its length

// A copy of text_of() on disk leaves out the elements of sets above `most`, with a line that says
// so; reading it back gives the names of these sets in `left_out`.
std::string shortened_text_of(const NftTables& tables, std::size_t most);
struct ReadTables {
  NftTables tables;
  std::vector<std::string> left_out;
};
ReadTables read_shortened(std::string_view text);

}  // namespace oceanid::routing
