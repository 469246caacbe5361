// Routing rules. Offsets are relative to routing.priority (5100); all rules of one line share one
// preference, and `goto end` goes to +90.
//
//   +0   fwmark UNDERLAY                      goto end    the tunnels' outer packets
//   +0   iif PODS fwmark TAKEN                lookup I    given to a transparent listener (TPROXY)
//   +0   iif lo fwmark TAKEN                  goto end    without PODS; see below
//   +1   iif PODS                             goto +40    shorter ways, see below
//   +2   iif UPLINK                           goto +30
//   +3   iif TUNNEL                           goto +20    where connections are tracked
//   +4   fwmark TAKEN                         lookup I    likewise
//   +5   iif lo to PEER-ADDRESS               lookup R    own traffic to the other tunnel ends
//   +6   iif lo from OWN-TUNNEL to PEER-NET   lookup R    answers of our tunnel address
//   +7   iif lo fwmark CARRIED to PEER-NET    lookup R    exit: errors and resets for clients
//   +8   iif lo                               lookup O    overlay: the node itself to peers' pods
//   +10  oif UPLINK to ON-LINK                goto end    bound sockets, self and interface exits
//   +12  oif EXIT-DEVICE                      lookup T+1+i  bound sockets
//   +13  iif lo                               goto end
//   +20  iif TUNNEL to SOURCES                goto end    delivery to own pods
//   +21  iif TUNNEL                           lookup O    overlay: one peer to another
//   +22  iif HUB fwmark CARRIED               goto end    exit: clients' packets to the internet
//   +24  iif TUNNEL                           unreachable no tunnel to tunnel, nothing unseen
//   +30  iif UPLINK fwmark CARRIED to PEER-NET lookup R   exit: replies return by the tunnel
//   +40  iif PODS fwmark EXEMPT               goto end    answers of inbound connections
//   +45  iif PODS to OVERLAY                  lookup O    overlay: peers' networks and addresses
//   +50  iif PODS to BYPASS                   goto end
//   +55  iif PODS from SOURCE fwmark DRAINING lookup T+1+i  what a planned switch leaves there
//   +60  iif PODS from SOURCE [fwmark CARRIED] [to D] [dport P]  lookup T
//   +61  iif PODS [from SOURCE] [to D] [dport P] unreachable  when +60 needs the mark, or is narrow
//   +62..+87  the same for the next of routing.selection, two each: lookup T or T+1+i, or goto end
//   +88  iif PODS                             unreachable kill switch: forged sources, IPv6
//   +90                                       nop         the end
//   32764  iif PODS to CLUSTER not EXEMPT     lookup main, without its default
//   32765  the same                           unreachable
//
// The kernel walks this list twice for every forwarded packet (the second time for rp_filter), and
// some lines are there once for each peer. The jumps +1 to +3 and +13 pass over what cannot match;
// without them, or without the rule they lead to, the walk is longer and ends at the same place.
//
// 32764 and 32765 stand behind everybody else's rules, just before main's: a pod, service or
// tailnet destination whose own route is gone (or that nobody translates any more, after `nft flush
// ruleset`) must not follow main's default out of the cluster.
//
// T the egress table, T+1+i the table of exit i, R the return table, O the overlay's (peers'
// prefixes only: what it does not have goes on to the next rule), I the interception's, where every
// destination is local. The look-up of rp_filter for what is delivered here runs with iif = lo, and
// an answer's, too: for them I would make the client's address one of ours (under src_valid_mark,
// or with tcp_fwmark_accept). Two facts behind this:
// rp_filter's reverse look-up of a forwarded packet runs with iif = the device that it leaves by
// and, under src_valid_mark, with its mark, so that the packets of an answer need the marks of the
// question; and CARRIED is set by our nft prerouting chain only, so that a flushed ruleset turns
// forwarding by an address that nobody translates any more into "unreachable".

#include "routing/core/scene.hpp"

#include <algorithm>

namespace oceanid::routing::detail {
namespace {

constexpr std::size_t most_destinations = 64;  // of one line, as rules
constexpr std::uint32_t main_table = 254;
constexpr std::uint32_t main_priority = 32766;  // of the kernel's own rule that looks it up

class RuleBook {
 public:
  explicit RuleBook(const Scene& scene)
      : scene_(scene), loopback_(IfName::parse("lo").value()), end_(Goto{scene.end_priority()}) {}

  std::vector<Rule> take();

  void taken();
  void tunnels();
  void serving();
  void overlay();
  void bound_sockets();
  void pods();

 private:
  Rule& add(Family family, std::uint32_t offset, RuleAction action) {
    Rule rule;
    rule.family = family;
    rule.priority = scene_.priority(offset);
    rule.action = action;
    return rules_.emplace_back(std::move(rule));
  }
  void to_peers(const Prefix& network);
  void pods_of(Family family, const IfName& interface);
  void select(Family family, const IfName& interface, std::size_t index);
  void errors_of_carried(const Rule& model, const Selector& selector);
  void spread(Rule model, const Prefixes& sources, const Selector& selector);
  std::optional<RuleAction> action_of(Family family, const Selector& selector, bool last) const;
  bool steers(Family family) const;
  void keep_in_cluster(Family family, const IfName& interface);
  void sort();
  void shorten(Family family);
  void jump(Family family, const IfName& interface, std::uint32_t offset, std::uint32_t first);

  const Scene& scene_;
  IfName loopback_;
  RuleAction end_;
  std::vector<Rule> rules_;
};

std::vector<Rule> RuleBook::take() {
  if (rules_.empty()) return {};
  for (const Family family : families)
    add(family, 90, Nop{});
  sort();
  for (const Family family : families)
    shorten(family);
  sort();
  return std::move(rules_);
}

void RuleBook::sort() {
  std::ranges::sort(rules_);
  const auto rest = std::ranges::unique(rules_);
  rules_.erase(rest.begin(), rest.end());
}

void RuleBook::shorten(Family family) {
  for (const IfName& interface : scene_.pods)
    jump(family, interface, 1, 4);
  if (scene_.in.serve_exit) jump(family, scene_.in.serve_exit->uplink, 2, 4);
  // Where nothing is forwarded the node's own packets would only meet one rule more.
  if (scene_.tracking)
    for (const IfName& tunnel : scene_.tunnels)
      jump(family, tunnel, 3, 4);
  jump(family, loopback_, 13, 14);
}

// From +offset to the first rule from +first on that a packet of this interface can match. What is
// forwarded has no outgoing interface yet.
void RuleBook::jump(Family family, const IfName& interface, std::uint32_t offset,
                    std::uint32_t first) {
  const auto begin = std::ranges::find_if(rules_, [&](const Rule& rule) {
    return rule.family == family && rule.priority >= scene_.priority(first);
  });
  const auto target = std::find_if(begin, rules_.end(), [&](const Rule& rule) {
    return rule.family != family || (!rule.oif && (!rule.iif || *rule.iif == interface));
  });
  if (target == begin || target == rules_.end() || target->family != family) return;
  add(family, offset, Goto{target->priority}).iif = interface;
}

void RuleBook::to_peers(const Prefix& network) {
  for (const IpAddress& own : scene_.in.tunnel_addresses) {
    if (own.family() != network.family()) continue;
    Rule& rule = add(network.family(), 6, Lookup{scene_.return_table()});
    rule.iif = loopback_;
    rule.from = Prefix::host(own);
    rule.to = network;
  }
}

void RuleBook::taken() {
  if (!scene_.assigns) return;
  const RuleAction deliver = Lookup{scene_.intercept_table()};
  for (const Family family : families) {
    const auto marked = [&](std::uint32_t offset, RuleAction action) -> Rule& {
      Rule& rule = add(family, offset, action);
      rule.mark = scene_.marks.taken;
      return rule;
    };
    for (const IfName& interface : scene_.pods)
      marked(0, deliver).iif = interface;
    if (!scene_.pods.empty()) continue;
    marked(0, end_).iif = loopback_;
    marked(4, deliver);
  }
}

void RuleBook::tunnels() {
  if (scene_.tunnels.empty()) return;
  for (const Family family : families) {
    add(family, 0, end_).mark = scene_.marks.underlay;
    for (const IfName& tunnel : scene_.tunnels) {
      for (const Prefix& source : of_family(scene_.sources, family)) {
        Rule& delivery = add(family, 20, end_);
        delivery.iif = tunnel;
        delivery.to = source;
      }
      add(family, 24, Unreachable{}).iif = tunnel;
    }
  }
  for (const Prefix& peer : scene_.peer_addresses) {
    Rule& rule = add(peer.family(), 5, Lookup{scene_.return_table()});
    rule.iif = loopback_;
    rule.to = peer;
  }
  for (const Prefix& network : scene_.peer_networks)
    to_peers(network);
}

void RuleBook::serving() {
  if (!scene_.in.serve_exit) return;
  for (const Family family : families)
    for (const IfName& hub : scene_.hubs) {
      Rule& rule = add(family, 22, end_);
      rule.iif = hub;
      rule.mark = scene_.marks.carried;
    }
  Prefixes back = scene_.peer_networks;
  back.insert(back.end(), scene_.peer_addresses.begin(), scene_.peer_addresses.end());
  for (const Prefix& network : back) {
    const RuleAction look_up = Lookup{scene_.return_table()};
    Rule& own = add(network.family(), 7, look_up);
    own.iif = loopback_;
    own.mark = scene_.marks.carried;
    own.to = network;
    Rule& reply = add(network.family(), 30, look_up);
    reply.iif = scene_.in.serve_exit->uplink;
    reply.mark = scene_.marks.carried;
    reply.to = network;
  }
}

// What a peer may reach of another is for nft to say (nft_overlay.cpp).
void RuleBook::overlay() {
  if (!scene_.in.overlay) return;
  const RuleAction look_up = Lookup{scene_.overlay_table()};
  for (const Family family : families) {
    if (!of_family(scene_.overlay, family).empty()) add(family, 8, look_up).iif = loopback_;
    if (of_family(scene_.relay, family).empty()) continue;
    for (const IfName& tunnel : scene_.tunnels)
      add(family, 21, look_up).iif = tunnel;
  }
}

// A socket that is bound to an uplink or a foreign interface also talks to its neighbours (DHCP,
// neighbour discovery): these stay with main.
void RuleBook::bound_sockets() {
  static const Prefix link_local = Prefix::parse("fe80::/10").value();
  for (std::size_t i = 0; i < scene_.in.exits.size(); ++i) {
    const ExitPath& exit = scene_.in.exits[i];
    if (exit.device.empty()) continue;
    // An uplink that is no proven exit now stays as main has it: others bind sockets to it, too.
    if (!exit.tunnel && !exit.present) continue;
    for (const Family family : families)
      add(family, 12, Lookup{scene_.exit_table(i)}).oif = exit.device;
    if (exit.tunnel) continue;
    Prefixes neighbours = scene_.in.on_link;
    neighbours.push_back(link_local);
    for (const Prefix& network : neighbours) {
      Rule& rule = add(network.family(), 10, end_);
      rule.oif = exit.device;
      rule.to = network;
    }
  }
}

void RuleBook::pods() {
  if (!scene_.steering) return;
  for (const IfName& interface : scene_.pods)
    for (const Family family : families)
      pods_of(family, interface);
}

bool RuleBook::steers(Family family) const {
  if (family == Family::v6 && scene_.numbers.ipv6 != Ipv6Mode::exit) return false;
  return scene_.kill_switch || scene_.active(family) != nullptr;
}

void RuleBook::pods_of(Family family, const IfName& interface) {
  const bool v6 = family == Family::v6;
  if (v6 && scene_.numbers.ipv6 == Ipv6Mode::ignore) return;
  Rule& exempt = add(family, 40, end_);
  exempt.iif = interface;
  exempt.mark = scene_.marks.exempt;
  for (const Prefix& prefix : of_family(scene_.overlay, family)) {
    Rule& rule = add(family, 45, Lookup{scene_.overlay_table()});
    rule.iif = interface;
    rule.to = prefix;
  }
  for (const Prefix& prefix : of_family(scene_.bypass, family)) {
    Rule& rule = add(family, 50, end_);
    rule.iif = interface;
    rule.to = prefix;
  }
  keep_in_cluster(family, interface);
  if (scene_.in.draining && steers(family)) {
    for (const Prefix& source : of_family(scene_.sources, family)) {
      Rule& rule = add(family, 55, Lookup{scene_.exit_table(*scene_.in.draining)});
      rule.iif = interface;
      rule.from = source;
      rule.mark = scene_.marks.draining;
    }
  }
  const bool blocked = v6 && scene_.numbers.ipv6 == Ipv6Mode::block;
  if (!blocked)
    for (std::size_t i = 0; i < scene_.selectors.size(); ++i)
      select(family, interface, i);
  const bool everything = scene_.selectors.back().way != Way::direct;
  if (blocked || (scene_.kill_switch && everything)) add(family, 88, Unreachable{}).iif = interface;
}

// Answers of inbound connections may: whoever came by the uplink is there, whatever its address.
void RuleBook::keep_in_cluster(Family family, const IfName& interface) {
  Prefixes kept;
  for (const Prefix& prefix : of_family(scene_.cluster, family))
    if (scene_.kill_switch && std::ranges::binary_search(scene_.bypass, prefix))
      kept.push_back(prefix);
  for (const Prefix& prefix : of_family(scene_.overlay, family))
    if (std::ranges::none_of(kept, [&](const Prefix& wide) { return wide.contains(prefix); }))
      kept.push_back(prefix);
  for (const Prefix& prefix : kept) {
    Rule rule;
    rule.family = family;
    rule.iif = interface;
    rule.to = prefix;
    rule.mark = Mark{0, scene_.marks.exempt.mask};
    rule.priority = main_priority - 2;
    rule.action = Lookup{main_table, true};
    rules_.push_back(rule);
    rule.priority = main_priority - 1;
    rule.action = Unreachable{};
    rules_.push_back(rule);
  }
}

// Without a kill switch and an exit pods have main's way; a later line must not catch them.
std::optional<RuleAction> RuleBook::action_of(Family family, const Selector& selector,
                                              bool last) const {
  if (selector.way == Way::direct) return end_;
  if (selector.way == Way::active) {
    if (steers(family)) return Lookup{scene_.numbers.table};
    return last ? std::nullopt : std::optional<RuleAction>(end_);
  }
  const ExitPath* exit = scene_.pinned(selector);
  if (exit == nullptr || !exit->usable || !carries(*exit, family)) return Unreachable{};
  return Lookup{scene_.exit_table(static_cast<std::size_t>(exit - scene_.in.exits.data()))};
}

// A narrow line catches forged sources, too, which would else meet main's routes. Of a long list of
// destinations no rules are made: what goes direct carries the mark (+40), and without our ruleset
// everything takes the exit.
void RuleBook::select(Family family, const IfName& interface, std::size_t index) {
  Selector selector = scene_.selectors[index];
  const bool narrow = !selector.catches_all();
  if (selector.destinations.size() > most_destinations) {
    if (selector.way == Way::direct) return;
    selector.destinations.clear();
  }
  const bool last = index + 1 == scene_.selectors.size();
  const std::optional<RuleAction> action = action_of(family, selector, last);
  if (!action) return;
  Rule model;
  model.family = family;
  model.priority = scene_.priority(60 + 2 * static_cast<std::uint32_t>(index));
  model.action = *action;
  model.iif = interface;
  const Prefixes own = of_family(selector.sources, family);
  if (own.empty() && !selector.sources.empty()) return;
  const Prefixes sources = own.empty() ? of_family(scene_.sources, family) : own;
  if (selector.way == Way::direct) {
    errors_of_carried(model, selector);
    ++model.priority;
    spread(model, own, selector);
    return;
  }
  Rule refusal = model;
  ++refusal.priority;
  refusal.action = Unreachable{};
  const bool looks_up = std::holds_alternative<Lookup>(*action);
  if (looks_up && scene_.needs_mark) model.mark = scene_.marks.carried;
  spread(model, sources, selector);
  const bool closed = scene_.kill_switch || selector.way == Way::pinned;
  if (!own.empty() || !narrow || !closed) {
    if (model.mark) spread(refusal, sources, selector);
  } else if (!std::holds_alternative<Goto>(*action)) {
    spread(refusal, {}, selector);
  }
}

// An ICMP error has no ports; our ruleset knows whose it is. What is carried and not exempt here
// answers a connection that an exit carries.
void RuleBook::errors_of_carried(const Rule& model, const Selector& selector) {
  constexpr std::uint8_t icmp = 1;
  constexpr std::uint8_t icmp6 = 58;
  if (!selector.ports.empty() || selector.protocol || !steers(model.family)) return;
  Rule errors = model;
  errors.action = Lookup{scene_.numbers.table};
  errors.mark =
      Mark{scene_.marks.carried.value, scene_.marks.carried.mask | scene_.marks.exempt.mask};
  errors.ip_protocol = model.family == Family::v4 ? icmp : icmp6;
  const Prefixes own = of_family(selector.sources, model.family);
  spread(errors, own.empty() ? of_family(scene_.sources, model.family) : own, selector);
}

// One rule for each source, destination and port; no sources: from anybody.
void RuleBook::spread(Rule model, const Prefixes& sources, const Selector& selector) {
  std::vector<Rule> out{model};
  const auto times = [&out](const auto& values, auto set) {
    std::vector<Rule> wider;
    for (const Rule& rule : out)
      for (const auto& value : values) {
        wider.push_back(rule);
        set(wider.back(), value);
      }
    out = std::move(wider);
  };
  if (!sources.empty())
    times(sources, [](Rule& rule, const Prefix& source) { rule.from = source; });
  if (!selector.destinations.empty())
    times(of_family(selector.destinations, model.family),
          [](Rule& rule, const Prefix& destination) { rule.to = destination; });
  std::vector<Transport> protocols;
  if (selector.protocol) protocols = {*selector.protocol};
  if (!selector.protocol && !selector.ports.empty()) protocols = {Transport::tcp, Transport::udp};
  if (!protocols.empty())
    times(protocols, [](Rule& rule, Transport protocol) {
      rule.ip_protocol = static_cast<std::uint8_t>(protocol);
    });
  if (!selector.ports.empty())
    times(selector.ports, [](Rule& rule, std::uint16_t port) { rule.destination_port = port; });
  rules_.insert(rules_.end(), out.begin(), out.end());
}

}  // namespace

std::vector<Rule> make_rules(const Scene& scene) {
  RuleBook book(scene);
  book.taken();
  book.tunnels();
  book.serving();
  book.overlay();
  book.bound_sockets();
  book.pods();
  return book.take();
}

}  // namespace oceanid::routing::detail
