// The health of the exits: what all probes have found becomes states, the choice, and one sentence.

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/network.hpp"
#include "gateway/process/routing_inputs.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

// `address` is what the world must see: a family without one must not be used through this exit.
bool promised(const ExitSettings& exit, Family family) {
  return exit.addresses.empty() || std::ranges::any_of(exit.addresses, [&](const IpAddress& a) {
           return a.family() == family;
         });
}

std::string failover_reason(tunnel::Fall fall) {
  switch (fall) {
    case tunnel::Fall::exit_uplink:
    case tunnel::Fall::canaries:
      return "no_internet";
    case tunnel::Fall::exit_address:
      return "wrong_address";
    case tunnel::Fall::none:
    case tunnel::Fall::link:
    case tunnel::Fall::echo:
      break;
  }
  return "down";
}

// An exit that became more or less preferred is as proven as it was.
std::vector<std::optional<std::size_t>> former_places(const Config& before, const Config& now) {
  std::vector<std::optional<std::size_t>> out;
  for (const auto& exit : now.exits) {
    const auto found = std::ranges::find_if(before.exits, [&](ExitSettings former) {
      former.priority = exit.priority;
      return former == exit;
    });
    out.push_back(found == before.exits.end()
                      ? std::nullopt
                      : std::optional(static_cast<std::size_t>(found - before.exits.begin())));
  }
  return out;
}

void describe_targets(const tunnel::DeepBook& deep, ipc::GatewaySnapshot& out) {
  for (const auto& [key, record] : deep.records()) {
    ipc::TargetView view;
    view.exit = key.first;
    view.target = key.second;
    view.known = record.known;
    view.good = record.good;
    view.error = record.error;
    view.seconds = record.seconds;
    view.good_total = record.good_total;
    view.failed_total = record.failed_total;
    view.certificate_days = record.certificate_days;
    if (record.seen && key.second == tunnel::address_probe) view.seen = record.seen->to_string();
    view.mismatches = record.mismatches;
    out.targets.push_back(std::move(view));
  }
}

}  // namespace

// The configuration has changed from `before` to the one in force.
void Network::follow_health(const Config& before) {
  const auto places = former_places(before, config_);
  board_.set_hold(config_.health.hold, config_.health.damping);
  selector_.set_hold(config_.health.hold);
  if (before.exits != config_.exits) {
    board_.reorder(places);
    selector_.reorder(places);
  }
  std::vector<tunnel::DeepBook::Exit> exits;
  for (const auto& exit : config_.exits)
    exits.push_back({exit.name, exit.addresses});
  deep_.configure(exits, config_.health, Clock::now());
}

tunnel::ExitFindings Network::findings_of(const ExitSettings& exit,
                                          const std::vector<tunnel::TunnelStatus>& tunnels) const {
  tunnel::ExitFindings out;
  const IfName device = device_of(exit);
  if (exit.peer) {
    const auto status = std::ranges::find(tunnels, device, &tunnel::TunnelStatus::device);
    if (status != tunnels.end()) out = status->findings;
    out.device = status != tunnels.end() && status->present;
    out.tunnel = true;
  } else {
    const auto* link = routing::find_link(facts_, device);
    out.tunnel = false;
    out.device = link != nullptr;
    out.device_up = link == nullptr || (link->up && link->carrier);
    out.device_address =
        link == nullptr ||
        (promised(exit, Family::v4) && routing::primary_address(*link, Family::v4)) ||
        (promised(exit, Family::v6) && routing::primary_address(*link, Family::v6));
  }
  out.name = exit.name;
  return out;
}

ExitState Network::state_of(const ExitSettings& exit, const tunnel::ExitFindings& found) const {
  ExitState out;
  out.name = exit.name;
  out.addresses = exit.addresses;
  const IfName device = device_of(exit);
  const auto* link = routing::find_link(facts_, device);
  if (link != nullptr && found.device) out.device = device;
  const auto carried = [&](Family family) {
    if (!promised(exit, family)) return false;
    if (exit.peer) return carries(config_, *exit.peer, family);
    return link != nullptr && routing::primary_address(*link, family).has_value();
  };
  out.ipv4 = carried(Family::v4);
  out.ipv6 = carried(Family::v6);
  out.usable = tunnel::usable(found.state);
  out.reserve = found.state == tunnel::HealthState::hold;
  out.reason = tunnel::diagnose(found).sentence;
  return out;
}

// Looks at everything now; cheap, without a word to the kernel.
ExitTable Network::judge_exits() {
  const auto now = Clock::now();
  const auto all = tunnels();
  std::vector<tunnel::ExitFindings> findings;
  std::vector<tunnel::ExitEvidence> evidence;
  for (const auto& exit : config_.exits) {
    auto& found = findings.emplace_back(findings_of(exit, all));
    deep_.fill(found, now);
    evidence.push_back(tunnel::evidence_of(found));
  }
  tunnel::blame_targets(evidence);
  const bool line = std::ranges::any_of(
      facts_.defaults, [](const auto& route) { return !is_our_link(route.device); });
  std::vector<tunnel::HealthState> before;
  for (const auto& exit : board_.exits())
    before.push_back(exit.state());
  board_.update(evidence, line, now);
  candidates_.clear();
  const auto priorities = tunnel::priorities_of(config_.exits);
  ExitTable table;
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const auto& exit = board_.exits()[i];
    findings[i].state = exit.state();
    findings[i].fall = exit.fall();
    findings[i].suppressed = board_.suppressed(i, now);
    candidates_.push_back(
        {.state = exit.state(),
         .impaired = exit.impaired(),
         .silent = exit.state() == tunnel::HealthState::down && exit.fall() == tunnel::Fall::echo,
         .priority = priorities[i],
         .rtt = findings[i].rtt});
    table.exits.push_back(state_of(config_.exits[i], findings[i]));
  }
  findings_ = std::move(findings);
  note_changes(before);
  return table;
}

void Network::note_changes(const std::vector<tunnel::HealthState>& before) {
  using tunnel::HealthState;
  for (std::size_t i = 0; i < findings_.size() && i < before.size(); ++i) {
    const auto& exit = findings_[i];
    if (exit.state == before[i] || exit.state == HealthState::suspect ||
        (before[i] == HealthState::suspect && exit.state != HealthState::down))
      continue;  // a suspicion that comes and goes is no news
    events_.event("tunnel", fmt::format("{} is {}: {}", exit.name, to_string(exit.state),
                                        tunnel::diagnose(exit).sentence));
  }
}

// Between changes that announce themselves: loss, round trips, the end of a hold.
void Network::refresh_health() {
  if (config_.exits.empty()) return;
  static_cast<void>(judge_exits());
  if (selector_.matters(chosen_from_, candidates_)) mark_due();
}

void Network::update_exits() {
  ExitTable next = judge_exits();
  chosen_from_ = candidates_;
  std::optional<std::size_t> pin;
  if (config_.routing && config_.routing->exit)
    for (std::size_t i = 0; i < next.exits.size(); ++i)
      if (next.exits[i].name == *config_.routing->exit) pin = i;
  const auto now = Clock::now();
  next.active = drain_first(selector_.select(candidates_, pin, now, board_.underlay_down()), next);
  if (next == exits_) return;
  const auto name_of = [](const ExitTable& table) {
    return table.active ? table.exits[*table.active].name : std::string("none");
  };
  const std::string from = name_of(exits_);
  const std::string to = name_of(next);
  if (from != to) {
    std::string reason = "start";
    for (const auto& exit : findings_) {
      if (exit.name != from) continue;
      reason = tunnel::usable(exit.state) ? "preferred" : failover_reason(exit.fall);
      if (!tunnel::usable(exit.state) && next.active)
        switching_since_ =
            now - (exit.fall == tunnel::Fall::echo && exit.silence ? *exit.silence
                                                                   : std::chrono::nanoseconds(0));
    }
    if (from == "none" && !failovers_.empty()) reason = "recovered";
    auto& counted = failovers_[{from, to}];
    counted.from = from;
    counted.to = to;
    counted.reason = reason;
    ++counted.count;
    events_.event("tunnel", fmt::format("exit changed from {} to {} ({})", from, to, reason));
  }
  exits_ = std::move(next);
  events_.exits_changed(exits_);
}

void Network::note_switch_done() {
  if (!switching_since_) return;
  failover_seconds_ = seconds(Clock::now() - *std::exchange(switching_since_, std::nullopt));
}

void Network::probed(const ipc::Probes& probes) {
  bool news = false;
  for (const auto& one : probes.results) {
    tunnel::DeepResult result;
    result.exit = one.exit;
    result.target = one.target;
    result.good = one.good;
    result.error = one.error;
    result.seconds = one.seconds;
    result.certificate_days = one.certificate_days;
    result.seen = one.seen;
    news = deep_.take(std::move(result)) || news;
  }
  if (news) refresh_health();
}

void Network::describe_health(ipc::GatewaySnapshot& out) {
  refresh_health();
  const auto now = Clock::now();
  for (std::size_t i = 0; i < findings_.size() && i < config_.exits.size(); ++i) {
    const auto& found = findings_[i];
    const ExitState state = state_of(config_.exits[i], found);
    const auto diagnosis = tunnel::diagnose(found);
    ipc::ExitView view;
    view.name = found.name;
    view.kind = config_.exits[i].peer ? "tunnel" : config_.exits[i].self ? "self" : "interface";
    view.state = to_string(found.state);
    view.usable = tunnel::usable(found.state);
    const auto since = board_.exits()[i].since();
    if (since != tunnel::TimePoint()) view.state_seconds = seconds(now - since);
    view.code = diagnosis.code;
    view.reason = diagnosis.sentence;
    view.current = exits_.active == i;
    view.device = state.device ? state.device->str() : std::string("-");
    view.addresses = state.addresses;
    if (found.rtt) view.rtt_seconds = seconds(*found.rtt);
    if (found.tunnel && found.echoes > 0) view.loss_ratio = found.loss;
    out.exits.push_back(std::move(view));
  }
  describe_targets(deep_, out);
  out.failover_seconds = failover_seconds_;
  tunnel::NodeFindings node;
  node.routing_error = routing_view_.error;
  node.underlay_down = board_.underlay_down();
  node.default_route = std::ranges::any_of(
      facts_.defaults, [](const auto& route) { return !is_our_link(route.device); });
  if (clock_)
    node.clock_went_back = clock_->observe(std::chrono::system_clock::now(), now,
                                           tunnels_ ? tunnels_->last_handshake() : std::nullopt);
  node.exits = findings_;
  node.current = exits_.active;
  if (config_.exits.empty())
    node.targets = deep_.services("");
  else if (exits_.active && *exits_.active < findings_.size())
    node.targets = deep_.services(findings_[*exits_.active].name);
  const auto diagnosis = tunnel::diagnose(node);
  out.diagnosis = diagnosis.sentence;
  out.diagnosis_code = diagnosis.code;
  if (std::exchange(diagnosis_code_, diagnosis.code) != diagnosis.code)
    log::write(diagnosis.code == "ok" || diagnosis.code == "no_exits" ? log::Level::info
                                                                      : log::Level::warn,
               "gateway", diagnosis.sentence, {{"code", diagnosis.code}});
}

}  // namespace oceanid::process
