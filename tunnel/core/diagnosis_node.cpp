// What the whole node has to say.

#include "tunnel/core/diagnosis.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace oceanid::tunnel {
namespace {

using Node = NodeFindings;

bool is_down(const ExitFindings& exit) {
  return !usable(exit.state) && exit.state != HealthState::admin_down;
}

bool silent(const ExitFindings& exit) {
  return exit.tunnel && !carries(exit.path);
}

const ExitFindings* carrier(const Node& n) {
  return n.current && *n.current < n.exits.size() ? &n.exits[*n.current] : nullptr;
}

std::string trouble(const ExitFindings& exit) {
  return fmt::format("{} is {} ({})", exit.name,
                     usable(exit.state) ? to_string(exit.state) : std::string_view("down"),
                     diagnose(exit).sentence);
}

template <class Predicate>
std::string troubles(const Node& n, Predicate predicate) {
  std::string out;
  for (const ExitFindings& exit : n.exits) {
    if (&exit == carrier(n) || !predicate(n, exit)) continue;
    if (!out.empty()) out += "; ";
    out += trouble(exit);
  }
  return out;
}

// Before the one that carries: the operator would rather have it.
bool preferred(const Node& n, const ExitFindings& exit) {
  return &exit < carrier(n) && exit.state != HealthState::admin_down &&
         (is_down(exit) || exit.state == HealthState::hold || exit.state == HealthState::degraded);
}

bool spare(const Node& n, const ExitFindings& exit) {
  return &exit > carrier(n) && is_down(exit);
}

template <class Predicate>
bool any_exit(const Node& n, Predicate predicate) {
  return carrier(n) != nullptr &&
         std::ranges::any_of(n.exits, [&](const ExitFindings& e) { return predicate(n, e); });
}

const TargetFinding* failing(const Node& n) {
  const auto found =
      std::ranges::find_if(n.targets, [](const TargetFinding& t) { return !t.error.empty(); });
  return found == n.targets.end() ? nullptr : &*found;
}

const TargetFinding* expiring(const Node& n) {
  const auto found = std::ranges::find_if(n.targets, [](const TargetFinding& t) {
    return t.certificate_days && *t.certificate_days < certificate_warning_days;
  });
  return found == n.targets.end() ? nullptr : &*found;
}

std::string leaves(const Node& n) {
  return "Traffic leaves by " + carrier(n)->name;
}

struct Row {
  std::string_view code;
  bool (*applies)(const Node&);
  std::string (*sentence)(const Node&);
};

const std::array rows{
    Row{"routing_not_in_force", [](const Node& n) { return !n.routing_error.empty(); },
        [](const Node& n) { return "Routing is not in force: " + n.routing_error; }},
    // WireGuard's handshakes carry a time, and a peer refuses one that is older than the last.
    Row{"clock_went_back",
        [](const Node& n) { return n.clock_went_back && std::ranges::any_of(n.exits, silent); },
        [](const Node& n) {
          return fmt::format(
              "The clock went back by {} s: peers refuse WireGuard handshakes until it is past "
              "where it was; set it. {}.",
              n.clock_went_back->count(),
              troubles(n, [](const Node&, const ExitFindings& e) { return is_down(e); }));
        }},
    Row{"underlay_down", [](const Node& n) { return n.underlay_down && carrier(n) == nullptr; },
        [](const Node& n) {
          if (!n.default_route)
            return std::string("Underlay down: this node has no default route, nothing leaves.");
          return std::string(
              "Underlay down: all exits fell silent at once, nothing leaves; look at this node's "
              "own "
              "line.");
        }},
    Row{"no_exits",
        [](const Node& n) { return n.exits.empty() && failing(n) == nullptr && !expiring(n); },
        [](const Node&) {
          return std::string("No exits configured: connections leave by this node's own address.");
        }},
    Row{"no_exit", [](const Node& n) { return !n.exits.empty() && carrier(n) == nullptr; },
        [](const Node& n) {
          const auto down = troubles(n, [](const Node&, const ExitFindings&) { return true; });
          return fmt::format("No exit carries traffic, nothing leaves: {}.", down);
        }},
    Row{"standby", [](const Node& n) { return any_exit(n, preferred); },
        [](const Node& n) { return fmt::format("{}; {}.", leaves(n), troubles(n, preferred)); }},
    Row{"degraded",
        [](const Node& n) {
          return carrier(n) != nullptr && carrier(n)->state != HealthState::up &&
                 carrier(n)->state != HealthState::suspect;
        },
        [](const Node& n) {
          return fmt::format("{}: {}.", leaves(n), diagnose(*carrier(n)).sentence);
        }},
    Row{"target_failing", [](const Node& n) { return failing(n) != nullptr; },
        [](const Node& n) {
          const auto what =
              fmt::format("{} does not work ({})", failing(n)->target, failing(n)->error);
          return carrier(n) == nullptr ? "No exits configured; " + what + "."
                                       : fmt::format("{}; {}.", leaves(n), what);
        }},
    Row{"certificate_expires", [](const Node& n) { return expiring(n) != nullptr; },
        [](const Node& n) {
          const int days = *expiring(n)->certificate_days;
          const auto what =
              days < 0 ? fmt::format("the certificate of {} has expired", expiring(n)->target)
                       : fmt::format("the certificate of {} expires in {} days",
                                     expiring(n)->target, days);
          return carrier(n) == nullptr ? "No exits configured; " + what + "."
                                       : fmt::format("{}; {}.", leaves(n), what);
        }},
    Row{"spare_down", [](const Node& n) { return any_exit(n, spare); },
        [](const Node& n) { return fmt::format("{}; {}.", leaves(n), troubles(n, spare)); }},
    Row{"ok", [](const Node&) { return true; }, [](const Node& n) { return leaves(n) + "."; }},
};

}  // namespace

Diagnosis diagnose(const NodeFindings& node) {
  for (const Row& row : rows)
    if (row.applies(node)) return {std::string(row.code), row.sentence(node)};
  return {};
}

std::vector<std::string_view> node_codes() {
  std::vector<std::string_view> out;
  for (const Row& row : rows)
    out.push_back(row.code);
  return out;
}

}  // namespace oceanid::tunnel
