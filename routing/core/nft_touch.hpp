#pragma once
// What one committed nft transaction did to our tables, as its notices tell it. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::routing {

enum class NftObject : std::uint8_t { table, chain, rule, set, element, object, flowtable };

struct NftTouch {
  bool added = false;  // false: deleted
  NftObject kind = NftObject::table;
  std::string table;   // "inet oceanid"
  std::string within;  // the chain of a rule, the set of an element, else the object's own name
  std::uint32_t count = 1;
  bool operator==(const NftTouch&) const = default;
};

// Our tables: "oceanid" and whatever begins with "oceanid_".
bool is_our_table(std::string_view name);

// Adds a touch to those of the same place; their number is bounded by our chains and sets.
void merge(std::vector<NftTouch>& touches, NftTouch touch);

// The largest thing that happened: "deleted table inet oceanid", "deleted 5 rules of chain
// leak_guard", "deleted 3 elements of set sources4".
std::string describe(const std::vector<NftTouch>& touches);

}  // namespace oceanid::routing
