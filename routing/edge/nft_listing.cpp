#include "routing/edge/nft_listing.hpp"

#include "routing/core/model.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>
#include <boost/system/error_code.hpp>

namespace oceanid::routing {
namespace {

namespace json = boost::json;
constexpr int our_translation = 99;  // srcnat - 1
constexpr std::uint32_t every_bit = 0xffffffff;

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

const json::object* inner(const json::value& value, std::string_view key) {
  const auto* object = value.if_object();
  const auto* found = object == nullptr ? nullptr : object->if_contains(key);
  return found == nullptr ? nullptr : found->if_object();
}

bool has(const json::value& expression, std::string_view key) {
  const auto* object = expression.if_object();
  return object != nullptr && object->contains(key);
}

std::optional<std::uint64_t> number_of(const json::value& value) {
  if (value.is_int64() && value.get_int64() >= 0)
    return static_cast<std::uint64_t>(value.get_int64());
  if (value.is_uint64()) return value.get_uint64();
  return std::nullopt;
}

bool is_mark(const json::value& value) {
  for (const auto* key : {"meta", "ct"})
    if (const auto* of = inner(value, key); of != nullptr && text_of(*of, "key") == "mark")
      return true;
  return false;
}

// The bits of the mark that an expression reads ("mark & M") or that an assignment may change.
std::uint32_t tested_bits(const json::value& left) {
  if (is_mark(left)) return every_bit;
  const auto* object = left.if_object();
  const auto* and_ = object == nullptr ? nullptr : object->if_contains("&");
  if (and_ == nullptr || !and_->is_array() || and_->get_array().size() != 2) return 0;
  const auto& sides = and_->get_array();
  if (!is_mark(sides[0])) return 0;
  return static_cast<std::uint32_t>(number_of(sides[1]).value_or(every_bit));
}

std::uint32_t written_bits(const json::value& value) {
  if (is_mark(value)) return 0;
  const auto* object = value.if_object();
  if (object == nullptr) return every_bit;  // a number, or a map
  for (const auto* op : {"|", "&", "^"}) {
    const auto* sides = object->if_contains(op);
    if (sides == nullptr || !sides->is_array() || sides->get_array().size() != 2) continue;
    const auto right = number_of(sides->get_array()[1]);
    if (!right) return every_bit;
    const auto bits = static_cast<std::uint32_t>(*right);
    return written_bits(sides->get_array()[0]) | (*op == '&' ? ~bits : bits);
  }
  return every_bit;
}

struct BaseChain {
  std::string family, table, name, type, hook, policy;
  int priority = 0;
};

struct Match {
  std::string protocol, field;  // of a payload, or "meta" and its key
  const json::value* right = nullptr;
};

struct RuleText {
  std::string chain;
  std::vector<Match> matches;
  bool accepts = false, refuses = false, translates = false, about_state = false,
       conditional = false;
};

struct Table {
  std::string family, name;
  std::vector<BaseChain> chains;
  std::vector<RuleText> rules;
  std::map<std::string, json::array> sets;
  bool ufw = false, flannel = false, masquerades = false;
};

RuleText read_rule(const json::object& rule, const json::array& expressions) {
  RuleText out;
  out.chain = text_of(rule, "chain");
  for (const json::value& expression : expressions) {
    out.accepts = out.accepts || has(expression, "accept");
    out.refuses = out.refuses || has(expression, "drop") || has(expression, "reject");
    out.translates = out.translates || has(expression, "masquerade") || has(expression, "snat");
    const auto* match = inner(expression, "match");
    out.conditional = out.conditional || match != nullptr || has(expression, "limit") ||
                      has(expression, "xt") || has(expression, "vmap");
    if (match == nullptr || !match->contains("left") || !match->contains("right")) continue;
    const json::value& left = match->at("left");
    out.about_state = out.about_state || inner(left, "ct") != nullptr;
    if (const auto* payload = inner(left, "payload"))
      out.matches.push_back(
          {text_of(*payload, "protocol"), text_of(*payload, "field"), &match->at("right")});
    if (const auto* meta = inner(left, "meta"))
      out.matches.push_back({"meta", text_of(*meta, "key"), &match->at("right")});
  }
  return out;
}

// A value, a set in place, or the name of one.
json::array values_of(const Table& table, const json::value& right) {
  if (const auto* object = right.if_object(); object != nullptr && object->contains("set"))
    if (const auto* list = object->at("set").if_array()) return *list;
  if (right.is_string() && right.get_string().starts_with("@")) {
    const auto found = table.sets.find(std::string(right.get_string().subview(1)));
    return found == table.sets.end() ? json::array() : found->second;
  }
  return json::array{right};
}

void add_ports(const Table& table, const Match& match, bool udp, std::vector<PortRange>& out) {
  for (const json::value& value : values_of(table, *match.right)) {
    const auto* object = value.if_object();
    const auto* range = object == nullptr ? nullptr : object->if_contains("range");
    std::optional<std::uint64_t> first = number_of(value);
    std::optional<std::uint64_t> last = first;
    if (range != nullptr && range->is_array() && range->get_array().size() == 2) {
      first = number_of(range->get_array()[0]);
      last = number_of(range->get_array()[1]);
    }
    if (first && last && *first <= 65535 && *last <= 65535)
      out.push_back({udp, static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)});
  }
}

void add_prefixes(const Table& table, const Match& match, std::vector<Prefix>& out) {
  for (const json::value& value : values_of(table, *match.right)) {
    std::string text = value.is_string() ? std::string(value.get_string()) : std::string();
    if (const auto* prefix = inner(value, "prefix"))
      text =
          text_of(*prefix, "addr") + "/" +
          std::to_string(
              number_of(prefix->contains("len") ? prefix->at("len") : json::value()).value_or(999));
    if (const auto parsed = Prefix::parse(text)) out.push_back(*parsed);
  }
}

// What the table lets pass by name, whichever of its chains says so.
void add_openings(const Table& table, ClosedChain& out) {
  for (const RuleText& rule : table.rules) {
    if (!rule.accepts) continue;
    bool by_port = false;
    bool elsewhere = rule.about_state;
    for (const Match& match : rule.matches) {
      const bool ports = match.field == "dport";
      by_port = by_port || ports;
      elsewhere = elsewhere || match.field == "daddr" || match.field == "oifname";
      if (ports && (match.protocol == "tcp" || match.protocol == "th"))
        add_ports(table, match, false, out.ports);
      if (ports && (match.protocol == "udp" || match.protocol == "th"))
        add_ports(table, match, true, out.ports);
    }
    if (by_port || elsewhere) continue;
    for (const Match& match : rule.matches) {
      if (match.field == "saddr") add_prefixes(table, match, out.sources);
      if (match.field == "iifname" || match.field == "iif")
        for (const json::value& value : values_of(table, *match.right))
          if (value.is_string()) out.interfaces.emplace_back(value.get_string());
    }
  }
}

Firewall kind_of(const Table& table) {
  if (table.name == "firewalld") return Firewall::firewalld;
  if (table.ufw) return Firewall::ufw;
  const bool old = table.family == "ip" || table.family == "ip6";
  return old && table.name == "filter" ? Firewall::iptables : Firewall::plain;
}

bool ends_in_refusal(const Table& table, const BaseChain& chain) {
  if (chain.policy == "drop") return true;
  const RuleText* last = nullptr;
  for (const RuleText& rule : table.rules)
    if (rule.chain == chain.name) last = &rule;
  return last != nullptr && last->refuses && !last->conditional;
}

void judge_table(const Table& table, NftSurvey& out) {
  out.flannel_masquerade = out.flannel_masquerade || (table.flannel && table.masquerades);
  for (const BaseChain& chain : table.chains) {
    if (chain.type == "nat" && chain.hook == "postrouting" && chain.priority < our_translation &&
        std::ranges::any_of(
            table.rules,
            [&](const RuleText& rule) { return rule.chain == chain.name && rule.translates; }))
      out.early_nat.push_back(chain.family + " " + chain.table + " " + chain.name);
    const bool asked = chain.hook == "input" || chain.hook == "forward" || chain.hook == "output";
    if (chain.type != "filter" || !asked || !ends_in_refusal(table, chain)) continue;
    ClosedChain closed;
    closed.family = chain.family;
    closed.table = chain.table;
    closed.chain = chain.name;
    closed.hook = chain.hook;
    closed.kind = kind_of(table);
    add_openings(table, closed);
    out.closed.push_back(std::move(closed));
  }
}

void add_marks(const Table& table, const std::string& chain, const json::array& expressions,
               NftSurvey& out) {
  const std::string where = table.family + " " + table.name + " " + chain;
  const auto add = [&](std::uint32_t bits, bool writes) {
    if (bits == 0) return;
    const MarkUse use{where, bits, writes};
    if (std::ranges::find(out.marks, use) == out.marks.end()) out.marks.push_back(use);
  };
  for (const json::value& expression : expressions) {
    if (const auto* match = inner(expression, "match"); match != nullptr && match->contains("left"))
      add(tested_bits(match->at("left")), false);
    if (const auto* mangle = inner(expression, "mangle");
        mangle != nullptr && mangle->contains("key") && mangle->contains("value") &&
        is_mark(mangle->at("key")))
      add(written_bits(mangle->at("value")), true);
  }
}

class Reader {
 public:
  void take(const json::value& item, NftSurvey& out) {
    if (const auto* chain = inner(item, "chain")) take_chain(*chain);
    if (const auto* set = inner(item, "set")) take_set(*set);
    if (const auto* rule = inner(item, "rule")) take_rule(*rule, out);
  }
  const std::map<std::pair<std::string, std::string>, Table>& tables() const { return tables_; }

 private:
  Table* table_of(const json::object& object) {
    const std::string family = text_of(object, "family");
    const std::string name = text_of(object, "table");
    if (name == nft_table || name == offload_table || name == "oceanid_nat") return nullptr;
    Table& table = tables_[{family, name}];
    table.family = family;
    table.name = name;
    table.flannel = table.flannel || name.starts_with("flannel");
    return &table;
  }
  void take_chain(const json::object& chain) {
    Table* table = table_of(chain);
    if (table == nullptr) return;
    const std::string name = text_of(chain, "name");
    table->ufw = table->ufw || name.starts_with("ufw-") || name.starts_with("ufw6-");
    table->flannel = table->flannel || name.starts_with("FLANNEL");
    if (!chain.contains("hook")) return;
    const auto* priority = chain.if_contains("prio");
    table->chains.push_back({table->family, table->name, name, text_of(chain, "type"),
                             text_of(chain, "hook"), text_of(chain, "policy"),
                             priority != nullptr && priority->is_int64()
                                 ? static_cast<int>(priority->get_int64())
                                 : 0});
  }
  void take_set(const json::object& set) {
    Table* table = table_of(set);
    const auto* elements = set.if_contains("elem");
    if (table != nullptr && elements != nullptr && elements->is_array())
      table->sets[text_of(set, "name")] = elements->get_array();
  }
  void take_rule(const json::object& rule, NftSurvey& out) {
    Table* table = table_of(rule);
    const auto* expressions = rule.if_contains("expr");
    if (table == nullptr || expressions == nullptr || !expressions->is_array()) return;
    table->rules.push_back(read_rule(rule, expressions->get_array()));
    table->masquerades = table->masquerades || table->rules.back().translates;
    add_marks(*table, table->rules.back().chain, expressions->get_array(), out);
  }

  std::map<std::pair<std::string, std::string>, Table> tables_;
};

}  // namespace

Result<NftSurvey> survey_of_listing(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse({text.data(), text.size()}, error);
  const auto* object = error ? nullptr : root.if_object();
  const auto* items = object == nullptr ? nullptr : object->if_contains("nftables");
  if (items == nullptr || !items->is_array())
    return fail(Errc::protocol, "nft's listing is not understood");
  NftSurvey out;
  Reader reader;
  for (const json::value& item : items->get_array())
    reader.take(item, out);
  for (const auto& [key, table] : reader.tables())
    judge_table(table, out);
  return out;
}

}  // namespace oceanid::routing
