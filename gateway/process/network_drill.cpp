// `oceanid drill failover`: the exit in use falls on purpose. What breaks is our hearing alone: the
// echoes through its tunnel are neither sent nor taken. Nothing in the kernel and nothing on the
// exit changes, so traffic goes on until the switch, and a fault that ends by itself is all that
// must be undone: the hearing returns at a time fixed beforehand, whatever becomes of the drill,
// and a netd that dies leaves none of it behind.

#include "gateway/base/runtime/log.hpp"
#include "gateway/process/network.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto longest_fault = 5s;  // five times what detection may take
constexpr auto longest_return = 20s;
constexpr auto look = 2ms;
constexpr auto look_for_return = 50ms;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

}  // namespace

Result<std::string> Network::drillable() const {
  if (drilling_) return fail(Errc::already_exists, "a drill is under way");
  if (!exits_.active || *exits_.active >= config_.exits.size())
    return fail(Errc::invalid_argument, "no exit carries the traffic now: nothing to break");
  const auto& exit = config_.exits[*exits_.active];
  if (!exit.peer || !tunnels_)
    return fail(Errc::invalid_argument,
                fmt::format("{} is no tunnel: its fall cannot be staged here", exit.name));
  for (std::size_t i = 0; i < exits_.exits.size(); ++i)
    if (i != *exits_.active && exits_.exits[i].usable) return exit.name;
  return fail(
      Errc::invalid_argument,
      fmt::format("{} is the only usable exit: a drill would cut this node off", exit.name));
}

awaitable<Result<ipc::DrillView>> Network::drill() {
  auto name = drillable();
  if (!name) co_return std::unexpected(std::move(name.error()));
  drilling_ = true;
  ipc::DrillView out;
  out.exit = *name;
  out.hold_seconds = std::chrono::duration<double>(config_.health.hold).count();
  const std::string peer = *config_.exits[*exits_.active].peer;
  const auto resets = [this] {
    ipc::RoutingView view;
    if (flows_) flows_->describe(view);
    return view.flows_reset;
  };
  const auto found = [&]() -> const tunnel::ExitFindings* {
    const auto at = std::ranges::find(findings_, out.exit, &tunnel::ExitFindings::name);
    return at == findings_.end() ? nullptr : &*at;
  };
  const auto resets_before = resets();
  events_.event("tunnel", fmt::format("drill: {} is taken for broken", out.exit));
  auto begun = Clock::now();
  if (tunnels_) tunnels_->hold_deaf(peer, longest_fault);
  while (!stopping_ && Clock::now() - begun < longest_fault) {
    co_await sleep_for(look);
    const auto* exit = found();
    if (exit == nullptr) break;  // another configuration
    if (!out.detected_seconds && !tunnel::usable(exit->state))
      out.detected_seconds = seconds_since(begun);
    const auto active = exits_.active;
    if (!active || *active >= exits_.exits.size() || switching_since_) continue;
    if (exits_.exits[*active].name == out.exit) continue;
    out.to = exits_.exits[*active].name;
    out.switched_seconds = seconds_since(begun);
    break;
  }
  if (tunnels_) tunnels_->hold_deaf(peer, 0s);
  begun = Clock::now();
  while (!stopping_ && Clock::now() - begun < longest_return) {
    const auto* exit = found();
    if (exit == nullptr) break;
    if (out.switched_seconds ? tunnel::usable(exit->state)
                             : exit->state == tunnel::HealthState::up) {
      out.restored_seconds = seconds_since(begun);
      break;
    }
    co_await sleep_for(look_for_return);
  }
  out.connections_reset = resets() - resets_before;
  drilling_ = false;
  events_.event("tunnel", out.switched_seconds
                              ? fmt::format("drill: the traffic was on {} after {:.2f} s", out.to,
                                            *out.switched_seconds)
                              : fmt::format("drill: the traffic did not leave {}", out.exit));
  co_return out;
}

}  // namespace oceanid::process
