#include "proxy/edge/upstream_steps.hpp"

#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {

bool exit_died(const ServerCore& core, const ExitChoice& exit) {
  return !still_usable(core.snapshot()->runtime->exits.get(), exit);
}

awaitable<ResolveResult> resolve_destination(ServerCore& core, const UpstreamRequest& request,
                                             const ExitChoice& exit, Trace& trace) {
  const auto asked = SteadyClock::now();
  const bool literal = IpAddress::parse(request.destination.host).has_value();
  auto resolved = co_await core.resolver_for(exit).resolve(request.destination.resolver_name());
  if (!literal) {
    const auto took = SteadyClock::now() - asked;
    trace.record.dns = std::chrono::duration_cast<std::chrono::microseconds>(took);
    core.stats().resolved(took);
  }
  co_return resolved;
}

std::expected<std::vector<SocketAddress>, Refusal> judge_addresses(ServerCore& core,
                                                                   const UpstreamRequest& request,
                                                                   const Addresses& addresses,
                                                                   Needed needed, Trace& trace) {
  const auto snapshot = core.snapshot();
  std::vector<SocketAddress> out;
  std::optional<GuardVerdict> denied;
  std::optional<AddressVerdict> refused;
  for (const IpAddress& address : addresses) {
    const SocketAddress target{address, request.destination.port};
    if (request.policy) {
      auto said = request.policy->judge_address(address);
      if (said.reported) trace.record.verdict = "report";
      if (!said.rule.empty()) trace.record.rule = said.rule;
      if (!said.allowed) {
        if (!refused) refused = std::move(said);
        continue;
      }
    }
    if (!request.guarded) {
      out.push_back(target);
      continue;
    }
    auto verdict = snapshot->guard.judge(address);
    if (verdict.allowed)
      out.push_back(target);
    else if (!denied)
      denied = std::move(verdict);
  }
  const bool enough = needed == Needed::one ? !out.empty() : out.size() == addresses.size();
  if (!enough && denied) {
    core.stats().guard_denied(denied->range);
    trace.record.rule = denied->rule;
    trace.record.verdict = "deny";
    return std::unexpected(
        Refusal{Reason::destination_prohibited,
                fmt::format("the destination's address is prohibited: {}", denied->rule),
                {}});
  }
  if (!enough && refused) {
    trace.record.rule = refused->rule;
    return std::unexpected(
        Refusal{refused->reason, fmt::format("refused by {}", refused->rule), {}});
  }
  return out;
}

awaitable<std::expected<Dialed, DialFailure>> dial_by(ServerCore& core, ExitChoice exit,
                                                      std::vector<SocketAddress> addresses,
                                                      SteadyClock::time_point deadline) {
  DialOptions options;
  options.exit = exit;
  options.attempt_delay = core.snapshot()->runtime->proxy->timeouts.attempt;
  options.deadline = deadline;
  options.give_up = [&core, exit] { return exit_died(core, exit); };
  options.memory = &core.bad_addresses_for(exit);
  options.wakeups = &core.exits_changed();
  co_return co_await dial(core.io(), std::move(addresses), std::move(options));
}

void note_connected(ServerCore& core, Trace& trace, SteadyClock::time_point began) {
  const auto took = SteadyClock::now() - began;
  trace.record.connect = std::chrono::duration_cast<std::chrono::microseconds>(took);
  core.stats().connected(took);
}

}  // namespace oceanid::proxy
