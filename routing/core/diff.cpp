#include "routing/core/diff.hpp"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

constexpr std::uint32_t ipv6_default_metric = 1024;  // IP6_RT_PRIO_USER: what the kernel makes of 0

// The kernel reads back no prefix where every address matches.
Rule normalised(Rule rule) {
  if (rule.from && rule.from->length() == 0) rule.from.reset();
  if (rule.to && rule.to->length() == 0) rule.to.reset();
  return rule;
}

Route normalised(Route route) {
  if (route.family == Family::v6 && route.metric == 0) route.metric = ipv6_default_metric;
  if (refuses(route.type)) {
    route.device.reset();  // IPv6 shows lo here
    route.gateway.reset();
  }
  if (!route.gateway) route.on_link = false;
  return route;
}

// What a route is for: NLM_F_REPLACE swaps the route with the same key.
using RouteKey = std::tuple<Family, std::uint32_t, Prefix, std::uint32_t>;
RouteKey key_of(const Route& route) {
  return {route.family, route.table, route.destination, route.metric};
}

// Names and families, in order: the plan writes them sorted.
bool has_same_sets(const std::vector<NamedSet>& a, const std::vector<NamedSet>& b) {
  return std::ranges::equal(a, b, [](const NamedSet& one, const NamedSet& other) {
    return one.name == other.name && one.family == other.family;
  });
}

bool is_closed(const Route& route) {
  return refuses(route.type);
}

// The same way, for smaller packets.
bool is_narrower(const Route& from, const Route& to) {
  Route same = to;
  same.mtu = from.mtu;
  return same == from && to.mtu && (!from.mtu || *to.mtu < *from.mtu);
}

// Of a link that carries packets.
bool is_narrowed(const LinkActual& link, const LinkState& wanted) {
  return link.up && wanted.mtu != 0 && wanted.mtu < link.mtu;
}

// Order in which rules may appear: a goto whose target is missing matches nothing (kernel:
// fib_rules_lookup), and a look-up before its bypasses would catch what must pass.
int rank_of(const RuleAction& action) {
  if (std::holds_alternative<Nop>(action)) return 0;
  if (std::holds_alternative<Goto>(action)) return 1;
  // What an unreachable of a later preference would cut off otherwise, for a moment.
  if (const auto* lookup = std::get_if<Lookup>(&action)) return lookup->specific ? 1 : 3;
  return 2;
}

class Differ {
 public:
  Differ(const NetworkState& desired, const Actual& actual) : desired_(desired), actual_(actual) {}

  Changes run() {
    find_usable();
    sort_routes();
    append(closing_);
    append(early_deletes_);
    narrow_links();
    append(narrowing_);
    if (!desired_.nft.text.empty()) replace_nft();
    write_sysctls();
    set_links();
    append(opening_);
    append(opening_via_gateway_);
    change_rules();
    append(late_deletes_);
    append(closed_deletes_);
    append(old_addresses_);
    if (desired_.nft.text.empty()) remove_nft();
    replace_offload();
    return std::move(out_);
  }

 private:
  template <typename T>
  void step(T change) {
    out_.steps.emplace_back(NetlinkChange(std::move(change)));
  }
  void append(std::vector<NetlinkChange>& changes) {
    for (auto& change : changes)
      out_.steps.emplace_back(std::move(change));
  }
  const LinkActual* find(const IfName& name) const {
    const auto found = std::ranges::find(actual_.links, name, &LinkActual::name);
    return found == actual_.links.end() ? nullptr : &*found;
  }
  bool family_works(Family family) const { return family == Family::v4 || actual_.ipv6; }

  void find_usable();
  bool device_ready(const Route& route);
  void sort_routes();
  void delete_route(const Route& route);
  void replace_nft();
  void remove_nft();
  void replace_offload();
  void write_sysctls();
  void narrow_links();
  void set_links();
  void change_rules();

  const NetworkState& desired_;
  const Actual& actual_;
  std::set<Rule> rules_;
  std::set<Route> routes_;
  std::vector<NetlinkChange> closing_, early_deletes_, narrowing_, opening_, opening_via_gateway_;
  std::vector<NetlinkChange> late_deletes_, closed_deletes_, old_addresses_;
  Changes out_;
};

bool Differ::device_ready(const Route& route) {
  if (is_closed(route) || !route.device) return true;
  const LinkActual* link = find(*route.device);
  const bool ours =
      std::ranges::find(desired_.links, *route.device, &LinkState::name) != desired_.links.end();
  if (link && (link->up || ours)) return true;
  out_.skipped.push_back(fmt::format("route {}: device {} {}", to_string(route),
                                     route.device->str(), link ? "is down" : "does not exist"));
  return false;
}

void Differ::find_usable() {
  bool without_ipv6 = false;
  for (const Rule& rule : desired_.rules) {
    if (family_works(rule.family))
      rules_.insert(normalised(rule));
    else
      without_ipv6 = true;
  }
  for (const Route& wanted : desired_.routes) {
    if (!family_works(wanted.family)) {
      without_ipv6 = true;
      continue;
    }
    Route route = normalised(wanted);
    if (device_ready(route)) routes_.insert(std::move(route));
  }
  if (without_ipv6)
    out_.skipped.emplace_back("IPv6 rules and routes: this kernel runs without IPv6");
}

void Differ::delete_route(const Route& route) {
  const bool closed_below = std::ranges::any_of(routes_, [&](const Route& other) {
    return is_closed(other) && other.family == route.family && other.table == route.table &&
           other.destination == route.destination;
  });
  const bool early = !is_closed(route) && route.destination.length() == 0 && closed_below;
  auto& list = is_closed(route) ? closed_deletes_ : early ? early_deletes_ : late_deletes_;
  list.emplace_back(DeleteRoute{route});
}

void Differ::sort_routes() {
  std::map<RouteKey, std::vector<Route>> present;
  for (const Route& route : actual_.routes)
    present[key_of(route)].push_back(normalised(route));
  for (const Route& route : routes_) {
    auto& same_key = present[key_of(route)];
    // A gateway must be reachable when its route comes, so routes without one go first.
    auto& list = is_closed(route) ? closing_ : route.gateway ? opening_via_gateway_ : opening_;
    if (const auto kept = std::ranges::find(same_key, route); kept != same_key.end()) {
      same_key.erase(kept);
    } else if (!same_key.empty() && is_narrower(same_key.front(), route)) {
      narrowing_.emplace_back(ReplaceRoute{same_key.front(), route});
      same_key.erase(same_key.begin());
    } else if (!same_key.empty()) {
      list.emplace_back(ReplaceRoute{same_key.front(), route});
      same_key.erase(same_key.begin());
    } else {
      list.emplace_back(AddRoute{route});
    }
  }
  for (const auto& [key, routes] : present)
    for (const Route& route : routes)
      delete_route(route);
}

void Differ::replace_nft() {
  const NftActual& tables = actual_.nft;
  const std::string& text = desired_.nft.text;
  const bool missing = (creates_table(text, "inet oceanid") && !tables.inet) ||
                       (creates_table(text, "ip oceanid_nat") && !tables.ip_nat) ||
                       (creates_table(text, "ip6 oceanid_nat") && !tables.ip6_nat);
  const bool gone = tables.known && missing;
  if (!gone && actual_.nft_tables && actual_.nft_tables->text == text) {
    if (actual_.nft_tables->sets == desired_.nft.sets) return;
    if (has_same_sets(actual_.nft_tables->sets, desired_.nft.sets)) {
      out_.steps.emplace_back(
          ChangeElements{*actual_.nft_tables, desired_.nft,
                         difference(actual_.nft_tables->sets, desired_.nft.sets)});
      return;
    }
  }
  std::optional<NftTables> from = actual_.nft_tables;
  if (tables.known && !tables.any()) from.emplace();
  out_.steps.emplace_back(ReplaceNft{std::move(from), desired_.nft});
}

void Differ::remove_nft() {
  const bool present = actual_.nft.known ? actual_.nft.any()
                                         : actual_.nft_tables && !actual_.nft_tables->text.empty();
  if (present) out_.steps.emplace_back(ReplaceNft{actual_.nft_tables, {}});
}

// A sysctl decides nothing for a connection that is established.
void Differ::replace_offload() {
  const bool present =
      actual_.nft.known ? actual_.nft.offload : actual_.offload && !actual_.offload->empty();
  const bool same = present && actual_.offload == desired_.offload;
  const bool quiet = std::ranges::all_of(
      out_.steps, [](const Change& change) { return std::holds_alternative<WriteSysctl>(change); });
  if (desired_.offload.empty() ? !present : same && quiet) return;
  out_.steps.emplace_back(ReplaceOffload{actual_.offload, desired_.offload});
}

void Differ::write_sysctls() {
  for (const Sysctl& wanted : desired_.sysctls) {
    const auto found = actual_.sysctls.find(wanted.path);
    const bool only = !wanted.instead_of.empty();
    if (only && (found == actual_.sysctls.end() || found->second != wanted.instead_of)) continue;
    if (found == actual_.sysctls.end())
      out_.skipped.push_back(fmt::format("sysctl {}: does not exist now",
                                         sysctl_assignment(wanted.path, wanted.value)));
    else if (found->second != wanted.value)
      out_.steps.emplace_back(
          WriteSysctl{wanted.path, found->second, wanted.value, wanted.required});
  }
}

void Differ::narrow_links() {
  for (const LinkState& wanted : desired_.links)
    if (const LinkActual* link = find(wanted.name); link && is_narrowed(*link, wanted))
      step(SetMtu{wanted.name, link->mtu, wanted.mtu});
}

void Differ::set_links() {
  for (const LinkState& wanted : desired_.links) {
    const LinkActual* link = find(wanted.name);
    if (!link) {
      out_.skipped.push_back(fmt::format("link {}: does not exist", wanted.name.str()));
      continue;
    }
    if (wanted.mtu != 0 && wanted.mtu != link->mtu && !is_narrowed(*link, wanted))
      step(SetMtu{wanted.name, link->mtu, wanted.mtu});
    for (const InterfaceAddress& address : wanted.addresses)
      if (family_works(address.address.family()) &&
          std::ranges::find(link->addresses, address) == link->addresses.end())
        step(AddAddress{wanted.name, address});
    if (!link->up) step(SetUp{wanted.name, true});
    for (const InterfaceAddress& address : link->addresses)
      if (std::ranges::find(wanted.addresses, address) == wanted.addresses.end())
        old_addresses_.emplace_back(DeleteAddress{wanted.name, address});
  }
}

void Differ::change_rules() {
  const auto before = [](const Rule& a, const Rule& b) {
    return std::tuple(rank_of(a.action), a) < std::tuple(rank_of(b.action), b);
  };
  std::set<Rule> present;
  std::vector<Rule> added;
  std::vector<Rule> removed(actual_.stale_rules);
  for (const Rule& rule : actual_.rules)
    present.insert(normalised(rule));
  std::ranges::set_difference(rules_, present, std::back_inserter(added));
  std::ranges::set_difference(present, rules_, std::back_inserter(removed));
  std::ranges::sort(added, before);
  std::ranges::sort(removed, before);
  std::ranges::reverse(removed);
  for (Rule& rule : added)
    step(AddRule{std::move(rule)});
  for (Rule& rule : removed)
    step(DeleteRule{std::move(rule)});
}

struct Inverse {
  std::optional<Change> operator()(const SetMtu& c) const {
    return NetlinkChange(SetMtu{c.link, c.to, c.from});
  }
  std::optional<Change> operator()(const SetUp& c) const {
    return NetlinkChange(SetUp{c.link, !c.up});
  }
  std::optional<Change> operator()(const AddAddress& c) const {
    return NetlinkChange(DeleteAddress{c.link, c.address});
  }
  std::optional<Change> operator()(const DeleteAddress& c) const {
    return NetlinkChange(AddAddress{c.link, c.address});
  }
  std::optional<Change> operator()(const AddRoute& c) const {
    return NetlinkChange(DeleteRoute{c.route});
  }
  std::optional<Change> operator()(const ReplaceRoute& c) const {
    return NetlinkChange(ReplaceRoute{c.to, c.from});
  }
  std::optional<Change> operator()(const DeleteRoute& c) const {
    return NetlinkChange(AddRoute{c.route});
  }
  std::optional<Change> operator()(const AddRule& c) const {
    return NetlinkChange(DeleteRule{c.rule});
  }
  std::optional<Change> operator()(const DeleteRule& c) const {
    return NetlinkChange(AddRule{c.rule});
  }
  std::optional<Change> operator()(const NetlinkChange& c) const { return std::visit(*this, c); }
  std::optional<Change> operator()(const WriteSysctl& c) const {
    return WriteSysctl{c.path, c.to, c.from, c.required};
  }
  std::optional<Change> operator()(const ReplaceNft& c) const {
    if (!c.from) return std::nullopt;
    return ReplaceNft{c.to, *c.from};
  }
  // What it has let pass since belongs to what is undone.
  std::optional<Change> operator()(const ReplaceOffload& c) const {
    return ReplaceOffload{c.to, {}};
  }
  std::optional<Change> operator()(const ChangeElements& c) const {
    ChangeElements out{c.to, c.from, c.sets};
    for (SetDifference& set : out.sets)
      std::swap(set.removed, set.added);
    return out;
  }
};

// Of steps that may go together; none: alone.
std::optional<int> part_of(const Change& change) {
  enum Part : int { closing, opening, closing_gone, opening_gone, rules, rules_gone };
  constexpr int ranks = 4;
  const auto* netlink = std::get_if<NetlinkChange>(&change);
  if (!netlink) return std::nullopt;
  if (const auto* c = std::get_if<AddRoute>(netlink))
    return is_closed(c->route) ? closing : opening;
  if (const auto* c = std::get_if<ReplaceRoute>(netlink))
    return is_closed(c->to) ? closing : opening;
  if (const auto* c = std::get_if<DeleteRoute>(netlink))
    return is_closed(c->route) ? closing_gone : opening_gone;
  const auto of_rank = [](int part, const Rule& rule) -> std::optional<int> {
    if (std::holds_alternative<Lookup>(rule.action)) return std::nullopt;
    return part * ranks + rank_of(rule.action);
  };
  if (const auto* c = std::get_if<AddRule>(netlink)) return of_rank(rules, c->rule);
  if (const auto* c = std::get_if<DeleteRule>(netlink)) return of_rank(rules_gone, c->rule);
  return std::nullopt;
}

}  // namespace

std::size_t together(std::span<const Change> steps) {
  const auto part = steps.empty() ? std::nullopt : part_of(steps.front());
  if (!part) return 1;
  const auto end = std::ranges::find_if(steps, [&](const Change& c) { return part_of(c) != part; });
  return static_cast<std::size_t>(end - steps.begin());
}

bool creates_table(std::string_view text, std::string_view table) {
  const std::string head = fmt::format("table {} {{", table);
  return text.starts_with(head) || text.find("\n" + head) != std::string_view::npos;
}

Changes diff(const NetworkState& desired, const Actual& actual) {
  return Differ(desired, actual).run();
}

Actual as_if_applied(const NetworkState& desired) {
  Actual out;
  const auto link_of = [&](const IfName& name) -> LinkActual& {
    const auto found = std::ranges::find(out.links, name, &LinkActual::name);
    if (found != out.links.end()) return *found;
    return out.links.emplace_back(LinkActual{name, true, 1500, {}});
  };
  for (const LinkState& link : desired.links) {
    LinkActual& made = link_of(link.name);
    if (link.mtu != 0) made.mtu = link.mtu;
    made.addresses = link.addresses;
  }
  std::set<Rule> rules;
  for (const Rule& rule : desired.rules)
    rules.insert(normalised(rule));
  out.rules.assign(rules.begin(), rules.end());
  std::set<Route> routes;
  for (const Route& route : desired.routes) {
    if (route.device && !is_closed(route)) link_of(*route.device);
    routes.insert(normalised(route));
  }
  out.routes.assign(routes.begin(), routes.end());
  out.nft = {.known = true,
             .inet = creates_table(desired.nft.text, "inet oceanid"),
             .ip_nat = creates_table(desired.nft.text, "ip oceanid_nat"),
             .ip6_nat = creates_table(desired.nft.text, "ip6 oceanid_nat"),
             .offload = !desired.offload.empty()};
  out.nft_tables = desired.nft;
  out.offload = desired.offload;
  for (const Sysctl& sysctl : desired.sysctls)
    out.sysctls[sysctl.path] = sysctl.value;
  return out;
}

std::optional<Change> inverse(const Change& change) {
  return std::visit(Inverse{}, change);
}

}  // namespace oceanid::routing
