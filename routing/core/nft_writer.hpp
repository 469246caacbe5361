#pragma once
// Writes nft text: named sets and the clauses that refer to them, per address family. Internal to
// routing/core. An empty set is not declared: nothing is in it, and the clauses know.

#include "routing/core/scene.hpp"

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::routing::detail {

class NftWriter {
 public:
  void set(const std::string& name, const Prefixes& prefixes);
  // A set that is empty here and filled while we run, with elements that time out.
  void keyed_set(const std::string& name, std::string_view type);
  bool has(const std::string& name, Family family) const;
  // A set that is not one of prefixes, as text.
  void declare(const std::string& text) { declared_ += text + "\n"; }

  // One clause per family that can match: "ip saddr @sources4".
  std::vector<std::string> in(std::string_view field, const std::string& name) const;
  // Everything outside the set; of a family without elements that is the whole family.
  std::vector<std::string> not_in(std::string_view field, const std::string& name) const;

  void begin(std::string_view chain, std::string_view hook = {});
  void end() { body_ += "  }\n\n"; }
  void line(std::string_view rule);
  // `before` CLAUSE `after`, once for every clause.
  void each(std::string_view before, const std::vector<std::string>& clauses,
            std::string_view after);

  // Elements that are normal already and may be many: shared, not copied.
  void set(const std::string& name, Family family, const PrefixList& prefixes);

  // The whole table, replaced in one transaction whether it exists or not.
  NftTables tables(const std::vector<std::string_view>& counters) const;

 private:
  std::map<std::string, NamedSet> sets_;
  std::string keyed_sets_;
  std::string declared_;
  std::string body_;
};

// { "cni0", "oc-*" }, or the bare name when there is one only.
std::string names(const std::vector<IfName>& interfaces);
std::string names(std::vector<IfName> interfaces, std::initializer_list<std::string_view> more);
std::string one_of(const std::vector<IpAddress>& addresses);
std::string inline_set(const Prefixes& prefixes);  // "{ 10.42.0.0/24, 10.99.0.1 }"

}  // namespace oceanid::routing::detail
