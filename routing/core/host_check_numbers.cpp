// Numbers that somebody else uses too: rule preferences, routing tables, bits of the packet mark.

#include "routing/core/host_check.hpp"
#include "routing/core/scene.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace oceanid::routing::detail {
namespace {

constexpr std::uint32_t last_offset = 90;

std::string text_of(const ForeignRule& rule) {
  std::string out =
      fmt::format("{} rule {}", rule.family == Family::v4 ? "IPv4" : "IPv6", rule.priority);
  if (rule.from) out += " from " + rule.from->to_string();
  if (rule.iif) out += " iif " + rule.iif->str();
  if (rule.mark) out += fmt::format(" fwmark {}", rule.mark->to_string());
  if (rule.table) out += fmt::format(" lookup {}", *rule.table);
  return out;
}

bool may_catch_pods(const ForeignRule& rule, const RoutingSettings& routing) {
  if (rule.narrow || (rule.mark && !rule.inverted)) return false;
  if (rule.iif && std::ranges::find(routing.interfaces, *rule.iif) == routing.interfaces.end())
    return false;
  if (!rule.from) return true;
  return std::ranges::any_of(routing.sources,
                             [&](const Prefix& source) { return source.overlaps(*rule.from); });
}

// Where nothing else is set, ours are the defaults.
std::string remedy_of(const Inputs& wanted, const std::string& ours, const std::string& theirs) {
  return wanted.routing ? ours + ", or " + theirs : theirs;
}

void judge_rules(const Inputs& wanted, const HostState& host, Findings& out) {
  const std::uint32_t first = Scene(wanted).numbers.priority;
  const std::uint32_t last = first + last_offset;
  const auto before = out.size();
  for (const ForeignRule& rule : host.rules) {
    const std::string family = rule.family == Family::v4 ? "-4" : "-6";
    if (rule.priority >= first && rule.priority <= last)
      out.push_back(
          {Severity::error, "rules",
           fmt::format("{} stands among ours ({} to {}): what bypasses the exits may meet it, "
                       "or pass it by",
                       text_of(rule), first, last),
           remedy_of(wanted, "set routing.priority to a free range",
                     fmt::format("take it away: ip {} rule del pref {}", family, rule.priority))});
    else if (wanted.routing && rule.priority > 0 && rule.priority < first &&
             may_catch_pods(rule, *wanted.routing))
      out.push_back({Severity::error, "rules",
                     fmt::format("{} comes before ours and can catch pods' packets", text_of(rule)),
                     fmt::format("set routing.priority below {}, or: ip {} rule del pref {}",
                                 rule.priority, family, rule.priority)});
  }
  if (out.size() == before)
    out.push_back({Severity::ok,
                   "rules",
                   fmt::format("preferences {} to {} are free{}", first, last,
                               wanted.routing ? ", and nobody before them takes pods" : ""),
                   {}});
}

void judge_tables(const Inputs& wanted, const HostState& host, Findings& out) {
  const Scene scene(wanted);
  const std::uint32_t first = scene.numbers.table;
  const std::uint32_t last = scene.intercept_table();
  const auto ours = [&](std::uint32_t table) { return table >= first && table <= last; };
  const auto before = out.size();
  const std::string remedy =
      remedy_of(wanted, "set routing.table to a number whose successors are free, above 10000",
                "give the other a table of its own");
  for (const ForeignTable& table : host.tables)
    if (ours(table.table))
      out.push_back({Severity::error, "tables",
                     fmt::format("routing table {} holds routes of somebody else", table.table),
                     remedy});
  for (const ForeignRule& rule : host.rules)
    if (rule.table && ours(*rule.table))
      out.push_back({Severity::error, "tables",
                     fmt::format("{} sends packets into a table of ours", text_of(rule)), remedy});
  if (out.size() == before)
    out.push_back(
        {Severity::ok, "tables", fmt::format("routing tables {} to {} are free", first, last), {}});
}

void judge_marks(const Inputs& wanted, const HostState& host, Findings& out) {
  const std::uint32_t ours = Scene(wanted).numbers.mark.mask;
  const std::string remedy =
      remedy_of(wanted, "set routing.mark to four adjacent bits that nobody uses",
                fmt::format("give the other a mask without 0x{:08x}", ours));
  const auto before = out.size();
  for (const ForeignRule& rule : host.rules)
    if (rule.mark && (rule.mark->mask & ours) != 0)
      out.push_back(
          {Severity::warn, "marks",
           fmt::format("{} tests bits of our mark (0x{:08x}): a packet that carries them does "
                       "not match it any more",
                       text_of(rule), rule.mark->mask & ours),
           remedy});
  if (host.nft)
    for (const MarkUse& use : host.nft->marks)
      if ((use.bits & ours) != 0)
        out.push_back({use.writes ? Severity::error : Severity::warn, "marks",
                       fmt::format("a rule in {} {} bits of our mark (0x{:08x})", use.where,
                                   use.writes ? "overwrites" : "tests", use.bits & ours),
                       remedy});
  if (out.size() == before)
    out.push_back({Severity::ok, "marks", fmt::format("nobody uses bits of 0x{:08x}", ours), {}});
}

}  // namespace

void judge_numbers(const Inputs& wanted, const HostState& host, Findings& out) {
  // Exits and tunnels have rules, tables and marks without `routing`, too.
  if (const Scene scene(wanted); !scene.tracking && scene.tunnels.empty()) return;
  judge_rules(wanted, host, out);
  judge_tables(wanted, host, out);
  judge_marks(wanted, host, out);
}

}  // namespace oceanid::routing::detail
