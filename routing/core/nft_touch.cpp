#include "routing/core/nft_touch.hpp"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::size_t most_touches = 256;  // a foreign writer may put any number of chains there

std::string_view noun(NftObject kind) {
  constexpr std::array<std::string_view, 7> nouns{"table",   "chain",  "rule",     "set",
                                                  "element", "object", "flowtable"};
  return nouns[static_cast<std::size_t>(kind)];
}

struct Deeds {
  std::uint64_t count = 0;
  std::set<std::string> places;
};

Deeds deeds(const std::vector<NftTouch>& touches, NftObject kind, bool added) {
  Deeds out;
  for (const NftTouch& touch : touches)
    if (touch.kind == kind && touch.added == added) {
      out.count += touch.count;
      out.places.insert(kind == NftObject::table ? touch.table : touch.within);
    }
  return out;
}

std::string plural(std::uint64_t count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string sentence(const Deeds& deeds, NftObject kind, bool added) {
  const std::string_view verb = added ? "added" : "deleted";
  const bool inside = kind == NftObject::rule || kind == NftObject::element;
  if (!inside && deeds.places.size() == 1)
    return fmt::format("{} {} {}", verb, noun(kind), *deeds.places.begin());
  if (!inside) return fmt::format("{} {}", verb, plural(deeds.count, noun(kind)));
  const std::string_view home = kind == NftObject::rule ? "chain" : "set";
  const std::string where = deeds.places.size() == 1
                                ? fmt::format("{} {}", home, *deeds.places.begin())
                                : plural(deeds.places.size(), home);
  return fmt::format("{} {} {} {}", verb, plural(deeds.count, noun(kind)), added ? "to" : "of",
                     where);
}

}  // namespace

bool is_our_table(std::string_view name) {
  return name == "oceanid" || name.starts_with("oceanid_");
}

void merge(std::vector<NftTouch>& touches, NftTouch touch) {
  const auto same = std::ranges::find_if(touches, [&](const NftTouch& other) {
    return other.added == touch.added && other.kind == touch.kind && other.table == touch.table &&
           other.within == touch.within;
  });
  if (same != touches.end())
    same->count += touch.count;
  else if (touches.size() < most_touches)
    touches.push_back(std::move(touch));
}

std::string describe(const std::vector<NftTouch>& touches) {
  using enum NftObject;
  // With a table its chains go, with a chain its rules: only the outermost is worth a word.
  for (const NftObject kind : {table, chain, flowtable, set, rule, element, object}) {
    const Deeds gone = deeds(touches, kind, false);
    const Deeds come = deeds(touches, kind, true);
    if (gone.count > 0 && come.count > 0) {
      if (gone.places == come.places && gone.places.size() == 1 && kind == table)
        return "replaced table " + *gone.places.begin();
      return sentence(gone, kind, false) + " and " + sentence(come, kind, true);
    }
    if (gone.count > 0) return sentence(gone, kind, false);
    if (come.count > 0) return sentence(come, kind, true);
  }
  return "changed nothing";
}

}  // namespace oceanid::routing
