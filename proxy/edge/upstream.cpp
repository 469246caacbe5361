#include "proxy/edge/upstream.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// How long a client waits for an exit to become usable: longer than a failover takes, shorter than
// anybody's patience.
constexpr auto exit_patience = 2s;

using Failed = std::unexpected<Refusal>;

Failed failed(Reason reason, std::string detail, std::string next_hop = {}) {
  return Failed(Refusal{reason, std::move(detail), std::move(next_hop)});
}

std::optional<ExitChoice> current_exit(const ServerCore& core, const UpstreamRequest& request) {
  const auto snapshot = core.snapshot();
  return choose_exit(snapshot->runtime->exits.get(), snapshot->runtime->exits_configured,
                     request.exit);
}

std::string why_no_exit(const ServerCore& core, const UpstreamRequest& request) {
  const auto snapshot = core.snapshot();
  const ExitTable* table = snapshot->runtime->exits.get();
  std::string out = request.exit ? fmt::format("exit {} is not usable", *request.exit)
                                 : std::string("no exit is usable");
  if (table == nullptr) return out;
  for (const ExitState& exit : table->exits)
    if ((!request.exit || exit.name == *request.exit) && !exit.reason.empty())
      out += fmt::format("; {}: {}", exit.name, exit.reason);
  return out;
}

awaitable<std::optional<ExitChoice>> wait_for_exit(ServerCore& core, UpstreamRequest request) {
  const auto until = std::min(SteadyClock::now() + exit_patience, request.deadline);
  for (;;) {
    if (auto exit = current_exit(core, request)) co_return exit;
    if (SteadyClock::now() >= until) co_return std::nullopt;
    co_await Wakeups::sleep(core.io(), core.exits_changed(), until);
  }
}

std::expected<std::vector<SocketAddress>, Refusal> judge(ServerCore& core,
                                                         const UpstreamRequest& request,
                                                         const Addresses& addresses, Trace& trace) {
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
  if (out.empty() && denied) {
    core.stats().guard_denied(denied->range);
    trace.record.rule = denied->rule;
    trace.record.verdict = "deny";
    return failed(Reason::destination_prohibited,
                  fmt::format("the destination's address is prohibited: {}", denied->rule));
  }
  if (out.empty() && refused) {
    trace.record.rule = refused->rule;
    return failed(refused->reason, fmt::format("refused by {}", refused->rule));
  }
  return out;
}

bool exit_died(const ServerCore& core, const ExitChoice& exit) {
  return !still_usable(core.snapshot()->runtime->exits.get(), exit);
}

awaitable<std::expected<Upstream, Refusal>> try_once(ServerCore& core, UpstreamRequest request,
                                                     ExitChoice exit, Trace& trace) {
  const auto asked = SteadyClock::now();
  const bool literal = IpAddress::parse(request.destination.host).has_value();
  auto resolved = co_await core.resolver_for(exit).resolve(request.destination.host);
  if (!literal) {
    const auto took = SteadyClock::now() - asked;
    trace.record.dns = std::chrono::duration_cast<std::chrono::microseconds>(took);
    core.stats().resolved(took);
  }
  if (!resolved) co_return failed(resolved.error().reason, resolved.error().detail);
  auto targets = judge(core, request, *resolved, trace);
  if (!targets) co_return std::unexpected(std::move(targets.error()));

  DialOptions options;
  options.exit = exit;
  options.attempt_delay = core.snapshot()->runtime->proxy->timeouts.attempt;
  options.deadline = request.deadline;
  options.give_up = [&core, exit] { return exit_died(core, exit); };
  options.wakeups = &core.exits_changed();
  const auto dialled = SteadyClock::now();
  auto connected = co_await dial(core.io(), std::move(*targets), std::move(options));
  if (!connected) {
    const DialFailure& failure = connected.error();
    const std::string next_hop = failure.address ? failure.address->to_string() : std::string();
    trace.record.address = next_hop;
    co_return failed(failure.reason, failure.detail, next_hop);
  }
  const auto took = SteadyClock::now() - dialled;
  trace.record.connect = std::chrono::duration_cast<std::chrono::microseconds>(took);
  core.stats().connected(took);
  trace.record.address = connected->address.to_string();
  co_return Upstream{std::move(connected->socket), connected->address, std::move(exit)};
}

}  // namespace

awaitable<std::expected<Upstream, Refusal>> open_upstream(ServerCore& core, UpstreamRequest request,
                                                          Trace& trace) {
  for (;;) {
    auto exit = co_await wait_for_exit(core, request);
    if (!exit) co_return failed(Reason::no_exit, why_no_exit(core, request));
    trace.record.exit = exit->name;
    auto upstream = co_await try_once(core, request, *exit, trace);
    if (upstream || SteadyClock::now() >= request.deadline || !exit_died(core, *exit))
      co_return upstream;
  }
}

}  // namespace oceanid::proxy
