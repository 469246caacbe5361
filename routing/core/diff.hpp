#pragma once
// The way from the network state that the kernel has to the one that we want, as ordered steps,
// each with its inverse. Pure; any thread.
//
// All elements change in one transaction, so that between two sets there is no moment either. Set
// by set, against the rules that change after it (8, 9):
//   sources, peers, clients  what is added is refused where it is unknown, closed first
//   near, cluster            an added one opens the guard for what the rules still steer into the
//                            exit's table; a removed one closes it for what a rule still lets pass
//   exempt                   needs no rule of its own: the mark opens and its absence closes
//   destinations             an added one is refused at the uplink until its rule steers it; a
//                            removed one may pass there, and is still steered by its rule
//   allowed, refused         no rule depends on them
//
// Order (nothing may leave wrongly at any moment between two steps):
//   1  unreachable and blackhole routes             closing comes first
//   2  default routes that must go, when step 1 left an unreachable one below them
//   3  MTU of links and routes that becomes smaller: a path that narrowed loses every large packet
//      until then, and nft takes seconds with long lists; it opens nothing
//   4  nft                                          guard before anything that lets packets pass;
//      only the elements, when the structure is the same
//   5  sysctls                                      forwarding is switched on behind the guard
//   6  links: MTU, new addresses, up
//   7  unicast routes; a changed one is ONE replace (delete and add leaks: 32 of 85,950 flows,
//      measured)
//   8  new rules: goto targets, bypasses (goto), unreachable, look-ups
//   9  old rules in the reverse order
//   10 old routes (unreachable ones last), old addresses
//   11 nft tables, when none is wanted any more
//   12 the flowtable, made anew after any of these: what it holds was decided before them

#include "routing/core/model.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace oceanid::routing {

struct LinkActual {
  IfName name;
  bool up = false;
  unsigned mtu = 0;
  std::vector<InterfaceAddress>
      addresses;            // without link-local ones, which the kernel makes itself
  std::uint32_t index = 0;  // another one: the link was made anew
  bool operator==(const LinkActual&) const = default;
};

// Which of our tables the kernel holds, without listing them. `stamp` changes whenever a table was
// made anew or gained or lost a chain.
struct NftActual {
  bool known = false;  // false: we may not ask (no CAP_NET_ADMIN)
  bool inet = false;
  bool ip_nat = false;
  bool ip6_nat = false;
  std::uint64_t stamp = 0;
  bool offload = false;  // the flowtable's table, with a stamp of its own
  std::uint64_t offload_stamp = 0;
  bool any() const { return inet || ip_nat || ip6_nat; }
  bool operator==(const NftActual&) const = default;
};

struct Actual {
  std::vector<Rule> rules;        // ours only: protocol 131
  std::vector<Rule> stale_rules;  // protocol 131 with matches that this version does not know
  std::vector<Route> routes;      // ours only, any table
  std::vector<LinkActual> links;  // all
  bool ipv6 = true;               // false: the kernel runs without IPv6
  NftActual nft;
  std::optional<NftTables> nft_tables;  // what is in force; none: unknown, without text: no table
  std::optional<std::string> offload;   // likewise
  std::map<std::string, std::string>
      sysctls;  // of those that are wanted; a missing one does not exist
  bool operator==(const Actual&) const = default;
};

struct SetMtu {
  IfName link;
  unsigned from = 0;
  unsigned to = 0;
  bool operator==(const SetMtu&) const = default;
};
struct SetUp {
  IfName link;
  bool up = true;
  bool operator==(const SetUp&) const = default;
};
struct AddAddress {
  IfName link;
  InterfaceAddress address;
  bool operator==(const AddAddress&) const = default;
};
struct DeleteAddress {
  IfName link;
  InterfaceAddress address;
  bool operator==(const DeleteAddress&) const = default;
};
struct AddRoute {
  Route route;
  bool operator==(const AddRoute&) const = default;
};
struct ReplaceRoute {
  Route from;
  Route to;
  bool operator==(const ReplaceRoute&) const = default;
};
struct DeleteRoute {
  Route route;
  bool operator==(const DeleteRoute&) const = default;
};
struct AddRule {
  Rule rule;
  bool operator==(const AddRule&) const = default;
};
struct DeleteRule {
  Rule rule;
  bool operator==(const DeleteRule&) const = default;
};
// One rtnetlink message each.
using NetlinkChange = std::variant<SetMtu, SetUp, AddAddress, DeleteAddress, AddRoute, ReplaceRoute,
                                   DeleteRoute, AddRule, DeleteRule>;

struct WriteSysctl {
  std::string path;
  std::string from;
  std::string to;
  bool required = true;
  bool operator==(const WriteSysctl&) const = default;
};
struct ReplaceNft {
  std::optional<NftTables> from;  // none: unknown, without text: no table
  NftTables to;                   // without text: delete our tables
  bool operator==(const ReplaceNft&) const = default;
};
// The tables stay, elements of their sets come and go: one transaction without the nft program.
struct ChangeElements {
  NftTables from;
  NftTables to;
  std::vector<SetDifference> sets;
  bool operator==(const ChangeElements&) const = default;
};
// Made anew, or with the same text emptied: its connections meet the rule set again.
struct ReplaceOffload {
  std::optional<std::string> from;  // none: unknown
  std::string to;                   // empty: delete the table
  bool operator==(const ReplaceOffload&) const = default;
};
using Change = std::variant<NetlinkChange, WriteSysctl, ReplaceNft, ChangeElements, ReplaceOffload>;

struct Changes {
  std::vector<Change> steps;
  std::vector<std::string> skipped;  // wanted, impossible now, and why: one sentence each
  bool empty() const { return steps.empty(); }
  bool operator==(const Changes&) const = default;
};

// Routes, addresses and sysctls of devices that do not exist (or are down and not ours to bring up)
// are skipped, and what they would have replaced is removed. diff(x, as_if_applied(x)) is empty.
Changes diff(const NetworkState& desired, const Actual& actual);

// What read-back shows once `desired` stands and every device exists.
Actual as_if_applied(const NetworkState& desired);

// True when `text` creates the table: "inet oceanid", "ip oceanid_nat".
bool creates_table(std::string_view text, std::string_view table);

// How many steps from the first one on may be told to the kernel at once, which goes on behind one
// that it refuses (1 at least): those of which every part may stand without the others. Routes of
// one kind, and rules of one kind, but for look-ups: where a more special one is missing the next
// one leads elsewhere.
std::size_t together(std::span<const Change> steps);

// Undoes the change; none when nothing is to be done (nft whose former text is unknown).
std::optional<Change> inverse(const Change& change);

// For `oceanid plan`: one line a change, grouped; "nothing to change" when empty.
std::string describe(const Changes& changes);
std::string describe(const Change& change);  // one line, no indentation; nft: a summary
std::string to_string(const Rule& rule);     // as `ip rule` writes it
std::string to_string(const Route& route);   // as `ip route` writes it, with the table
// "net.ipv4.conf.all.rp_filter=2", ready for `sysctl -w`. Device names with dots use slashes.
std::string sysctl_assignment(std::string_view path, std::string_view value);

}  // namespace oceanid::routing
