#include "routing/core/drift.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace oceanid::routing {
namespace {

template <typename T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::ranges::find(list, value) != list.end();
}

const LinkActual* find_link(const std::vector<LinkActual>& links, const IfName& name) {
  const auto found = std::ranges::find(links, name, &LinkActual::name);
  return found == links.end() ? nullptr : &*found;
}

// One step towards the desired state: is it there because somebody else changed the kernel? Then
// what stood is what we still want, or what is there now never was ours.
struct Finder {
  const Actual& standing;
  const Actual& actual;
  bool nft_touched;
  std::vector<Drift> out;

  void note(DriftKind kind, Deed deed, std::string what, std::string object) {
    out.push_back(Drift{kind, deed, std::move(what), std::move(object)});
  }
  // A link that was made anew since has nothing of what its predecessor had: nobody took it away.
  const LinkActual* stood(const IfName& name) const {
    const LinkActual* before = find_link(standing.links, name);
    const LinkActual* now = find_link(actual.links, name);
    return before && now && before->index == now->index ? before : nullptr;
  }
  bool is_on_new_link(const Route& route) const {
    return route.device && find_link(standing.links, *route.device) && !stood(*route.device);
  }
  bool is_of_new_link(const std::string& sysctl) const {
    return std::ranges::any_of(standing.links, [&](const LinkActual& link) {
      return sysctl.contains("/" + link.name.str() + "/") && !stood(link.name);
    });
  }

  void operator()(const AddRule& c) {
    if (contains(standing.rules, c.rule))
      note(DriftKind::rule, Deed::deleted, "rule " + to_string(c.rule), object_of(c.rule));
  }
  void operator()(const DeleteRule& c) {
    if (!contains(standing.rules, c.rule))
      note(DriftKind::rule, Deed::added, "rule " + to_string(c.rule), object_of(c.rule));
  }
  void operator()(const AddRoute& c) {
    if (contains(standing.routes, c.route) && !is_on_new_link(c.route))
      note(DriftKind::route, Deed::deleted, "route " + to_string(c.route), object_of(c.route));
  }
  void operator()(const ReplaceRoute& c) {
    if (!contains(standing.routes, c.from))
      note(DriftKind::route, Deed::changed,
           fmt::format("route {} to {}", to_string(c.to), to_string(c.from)), object_of(c.to));
  }
  void operator()(const DeleteRoute& c) {
    if (!contains(standing.routes, c.route))
      note(DriftKind::route, Deed::added, "route " + to_string(c.route), object_of(c.route));
  }
  void operator()(const AddAddress& c) {
    const LinkActual* link = stood(c.link);
    if (link && contains(link->addresses, c.address))
      note(DriftKind::address, Deed::deleted,
           fmt::format("address {} of {}", c.address.to_string(), c.link.str()),
           object_of(c.link, c.address));
  }
  void operator()(const DeleteAddress& c) {
    const LinkActual* link = stood(c.link);
    if (link && !contains(link->addresses, c.address))
      note(DriftKind::address, Deed::added,
           fmt::format("address {} to {}", c.address.to_string(), c.link.str()),
           object_of(c.link, c.address));
  }
  void operator()(const SetMtu& c) {
    const LinkActual* link = stood(c.link);
    if (link && link->mtu == c.to)
      note(DriftKind::link, Deed::changed,
           fmt::format("the MTU of {} from {} to {}", c.link.str(), c.to, c.from), c.link.str());
  }
  void operator()(const SetUp& c) {
    if (stood(c.link))
      note(DriftKind::link, Deed::changed, fmt::format("the link {} to down", c.link.str()),
           c.link.str());
  }
  void operator()(const NetlinkChange& c) { std::visit(*this, c); }
  void operator()(const WriteSysctl& c) {
    const auto stood = standing.sysctls.find(c.path);
    if (stood != standing.sysctls.end() && stood->second == c.to && !is_of_new_link(c.path))
      note(DriftKind::sysctl, Deed::changed,
           fmt::format("{} to {}", sysctl_assignment(c.path, c.to), c.from), c.path);
  }
  void operator()(const ReplaceNft&) {
    if (nft_touched) note(DriftKind::nft, Deed::changed, "the nft tables of oceanid", {});
  }
  // Tables that somebody else touched are made anew as a whole: these are our own change of mind.
  void operator()(const ChangeElements&) {}
  void operator()(const ReplaceOffload&) {}  // a touch of it is one of our tables, as above
};

std::string_view to_string(Deed deed) {
  constexpr std::array<std::string_view, 3> verbs{"deleted", "added", "changed"};
  return verbs[static_cast<std::size_t>(deed)];
}

// The sign of this very object, else the first of its kind: a link that went takes its addresses
// and routes with it without a word about them.
const Sign* sign_of(const Drift& drift, const std::vector<Sign>& signs) {
  const Sign* same_kind = nullptr;
  for (const Sign& sign : signs) {
    if (sign.kind != drift.kind) continue;
    if (sign.object == drift.object) return &sign;
    if (!same_kind) same_kind = &sign;
  }
  return same_kind;
}

struct Group {
  Incident incident;
  std::vector<const Drift*> drifts;
  std::string told;  // by the sign
};

std::string summary(const Group& group) {
  if (!group.told.empty()) return group.told;
  if (group.drifts.size() == 1)
    return fmt::format("{} {}", to_string(group.drifts.front()->deed), group.drifts.front()->what);
  std::string out;
  for (const Deed deed : {Deed::deleted, Deed::added, Deed::changed}) {
    const auto count = std::ranges::count_if(
        group.drifts, [&](const Drift* drift) { return drift->deed == deed; });
    if (count == 0) continue;
    const std::string_view kind = to_string(group.incident.kind);
    out += fmt::format("{}{} {} {}{}", out.empty() ? "" : " and ", to_string(deed), count, kind,
                       count == 1          ? ""
                       : kind == "address" ? "es"
                                           : "s");
  }
  return out + fmt::format(" (first: {})", group.drifts.front()->what);
}

}  // namespace

std::string_view to_string(DriftKind kind) {
  constexpr std::array<std::string_view, 6> names{"rule", "route",   "nft",
                                                  "link", "address", "sysctl"};
  return names[static_cast<std::size_t>(kind)];
}

std::string to_string(const Culprit& culprit) {
  if (culprit.pid == 0) return culprit.name.empty() ? "an unknown process" : culprit.name;
  return fmt::format("{} (pid {})", culprit.name.empty() ? "a process that is gone" : culprit.name,
                     culprit.pid);
}

std::string object_of(const Rule& rule) {
  return to_string(rule);
}

std::string object_of(const Route& route) {
  return fmt::format("{} table {}", route.destination.to_string(), route.table);
}

std::string object_of(const IfName& link, const InterfaceAddress& address) {
  return fmt::format("{} {}", link.str(), address.to_string());
}

Actual standing_after(const NetworkState& desired, const Actual& actual,
                      const std::vector<Change>& refused) {
  NetworkState reached = desired;
  const auto is_ours = [&](const IfName& name) {
    return std::ranges::find(desired.links, name, &LinkState::name) != desired.links.end();
  };
  const auto ready = [&](const IfName& name) {
    const LinkActual* link = find_link(actual.links, name);
    return link && (link->up || is_ours(name));
  };
  std::erase_if(reached.links,
                [&](const LinkState& link) { return !find_link(actual.links, link.name); });
  std::erase_if(reached.rules,
                [&](const Rule& rule) { return rule.family == Family::v6 && !actual.ipv6; });
  std::erase_if(reached.routes, [&](const Route& route) {
    return (route.family == Family::v6 && !actual.ipv6) ||
           (!refuses(route.type) && route.device && !ready(*route.device));
  });
  std::erase_if(reached.sysctls,
                [&](const Sysctl& sysctl) { return !actual.sysctls.contains(sysctl.path); });
  Actual out = as_if_applied(reached);
  // as_if_applied adds the devices of routes; what nobody asked for is nobody's to keep.
  std::erase_if(out.links, [&](const LinkActual& link) { return !is_ours(link.name); });
  for (LinkActual& link : out.links)
    if (const LinkActual* now = find_link(actual.links, link.name)) link.index = now->index;
  for (const Change& change : refused) {
    if (const auto* sysctl = std::get_if<WriteSysctl>(&change)) out.sysctls.erase(sysctl->path);
    const auto* netlink = std::get_if<NetlinkChange>(&change);
    if (!netlink) continue;
    if (const auto* added = std::get_if<AddRoute>(netlink)) std::erase(out.routes, added->route);
    if (const auto* put = std::get_if<ReplaceRoute>(netlink)) std::erase(out.routes, put->to);
    if (const auto* added = std::get_if<AddAddress>(netlink))
      for (LinkActual& link : out.links)
        if (link.name == added->link) std::erase(link.addresses, added->address);
    if (const auto* mtu = std::get_if<SetMtu>(netlink))
      for (LinkActual& link : out.links)
        if (link.name == mtu->link) link.mtu = mtu->from;
  }
  return out;
}

std::vector<Drift> find_drift(const Actual& standing, const NetworkState& desired,
                              const Actual& actual, const Changes& changes, bool nft_touched) {
  Finder finder{standing, actual, nft_touched, {}};
  for (const LinkState& wanted : desired.links)
    if (find_link(standing.links, wanted.name) && !find_link(actual.links, wanted.name))
      finder.note(DriftKind::link, Deed::deleted, "link " + wanted.name.str(), wanted.name.str());
  for (const Change& change : changes.steps)
    std::visit(finder, change);
  return std::move(finder.out);
}

std::vector<Incident> incidents(const std::vector<Drift>& drifts, const std::vector<Sign>& signs) {
  std::vector<Group> groups;
  for (const Drift& drift : drifts) {
    const Sign* sign = sign_of(drift, signs);
    const Culprit culprit = sign ? sign->culprit : Culprit{};
    auto group = std::ranges::find_if(groups, [&](const Group& other) {
      return other.incident.kind == drift.kind && other.incident.culprit == culprit;
    });
    if (group == groups.end()) {
      groups.push_back(Group{Incident{drift.kind, culprit, {}, {}}, {}, sign ? sign->text : ""});
      group = std::prev(groups.end());
    }
    group->drifts.push_back(&drift);
    if (sign && (!group->incident.since || sign->at < *group->incident.since))
      group->incident.since = sign->at;
  }
  std::vector<Incident> out;
  for (Group& group : groups) {
    group.incident.what = summary(group);
    out.push_back(std::move(group.incident));
  }
  return out;
}

std::string describe(const Incident& incident, std::chrono::microseconds repaired_in) {
  return fmt::format("{} {}; repaired in {:.1f} ms", to_string(incident.culprit), incident.what,
                     std::chrono::duration<double, std::milli>(repaired_in).count());
}

void DriftCounts::count(const Incident& incident) {
  std::string name = incident.culprit.name.empty() ? "unknown" : incident.culprit.name;
  if (name != "unknown" && !contains(names_, name)) {
    if (names_.size() < most_culprits)
      names_.push_back(name);
    else
      name = "other";
  }
  ++counts_[{incident.kind, name}];
}

void RepairPacer::forget(DriftClock::time_point now) {
  std::erase_if(repairs_, [&](DriftClock::time_point at) { return now - at > window; });
  if (repairs_.size() < burst) pause_ = {};
}

void RepairPacer::repaired(DriftClock::time_point now) {
  forget(now);
  repairs_.push_back(now);
  if (repairs_.size() < burst) return;
  pause_ = pause_.count() == 0 ? first_pause : std::min(pause_ * 2, longest_pause);
}

DriftClock::time_point RepairPacer::next(DriftClock::time_point now) {
  forget(now);
  if (repairs_.empty()) return now;
  return std::max(now, repairs_.back() + std::max(gap, pause_));
}

bool RepairPacer::fighting(DriftClock::time_point now) {
  forget(now);
  return repairs_.size() >= burst;
}

}  // namespace oceanid::routing
