#include "proxy/edge/upstream.hpp"

#include "proxy/core/backoff.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// How long a client waits for an exit to become usable: longer than a failover takes, shorter than
// anybody's patience.
constexpr auto exit_patience = 2s;

// A path that flaps is mostly back within a second or two, a service that restarts within less.
// Tries begin this far apart, and grow.
constexpr auto first_pause = 50ms;
constexpr auto longest_pause = 1s;
// A port that nobody listens on stays that way more often than not: its client hears it soon.
constexpr auto refused_patience = 500ms;

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
  options.memory = &core.bad_addresses_for(exit);
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

// The destination (or the way to it) did not take the connection: what breaks a circuit and what
// another try may mend.
bool is_connect_failure(Reason reason) {
  return reason == Reason::connection_refused || reason == Reason::connection_reset ||
         reason == Reason::connection_timeout || reason == Reason::destination_unreachable;
}

// A refusal is the destination's own word, by whatever exit; all else may be this exit's fault.
bool another_exit_may_help(Reason reason) {
  return reason == Reason::connection_timeout || reason == Reason::destination_unreachable ||
         reason == Reason::no_exit || reason == Reason::source_ports_exhausted;
}

// One request's way past the destination's circuit breaker.
class Circuit {
 public:
  Circuit(ServerCore& core, std::string destination)
      : core_(core), destination_(std::move(destination)) {}
  ~Circuit() {
    if (probe_) core_.breakers().abandoned(destination_);
  }
  Circuit(const Circuit&) = delete;
  Circuit& operator=(const Circuit&) = delete;

  std::optional<Refusal> enter() {
    const auto answer = core_.breakers().ask(destination_, SteadyClock::now());
    probe_ = answer.probe;
    if (answer.allowed) return std::nullopt;
    const auto wait = std::chrono::ceil<std::chrono::seconds>(answer.retry_after);
    Refusal out{
        Reason::breaker_open,
        fmt::format("{} failed repeatedly and is not tried for {} s", destination_, wait.count()),
        {}};
    out.retry_after = static_cast<int>(wait.count());
    return out;
  }

  void leave(Reason reason) {
    if (reason != Reason::ok && !is_connect_failure(reason)) return;
    probe_ = false;
    if (reason == Reason::ok)
      core_.breakers().succeeded(destination_);
    else if (core_.breakers().failed(destination_, core_.snapshot()->runtime->proxy->breaker,
                                     SteadyClock::now()))
      core_.stats().breaker_opened();
  }

 private:
  ServerCore& core_;
  std::string destination_;
  bool probe_ = false;
};

// Over the exits and over time: the next usable exit when one cannot connect and the request pins
// none, then all of them again after a pause.
class Attempts {
 public:
  Attempts(ServerCore& core, UpstreamRequest request, Trace& trace)
      : core_(core),
        request_(std::move(request)),
        trace_(trace),
        backoff_(first_pause, longest_pause) {}

  awaitable<std::expected<Upstream, Refusal>> run() {
    for (;;) {
      auto exit = next_ ? std::exchange(next_, {}) : co_await wait_for_exit(core_, request_);
      if (!exit) co_return failed(Reason::no_exit, why_no_exit(core_, request_));
      trace_.record.exit = exit->name;
      tried_.push_back(exit->name);
      auto upstream = co_await try_once(core_, shared_deadline(), *exit, trace_);
      if (upstream || SteadyClock::now() >= request_.deadline) co_return upstream;
      const Reason reason = upstream.error().reason;
      if (!exit_died(core_, *exit)) {
        if (another_exit_may_help(reason)) next_ = other_exit();
        if (next_) continue;
        const auto now = SteadyClock::now();
        const auto again = now + backoff_.next(core_.random());
        // A try that begins when the time is over could only say "timeout" instead of what is
        // known.
        if (!is_connect_failure(reason) || now >= patience(reason) || again >= request_.deadline)
          co_return upstream;
        co_await Wakeups::sleep(core_.io(), core_.exits_changed(), again);
      }
      tried_.clear();
    }
  }

 private:
  std::optional<ExitChoice> other_exit() const {
    if (request_.exit) return std::nullopt;
    const auto snapshot = core_.snapshot();
    if (!snapshot->runtime->exits_configured) return std::nullopt;
    return another_exit(snapshot->runtime->exits.get(), tried_);
  }

  // While there is another exit, this one gets half of the time that is left.
  UpstreamRequest shared_deadline() const {
    UpstreamRequest out = request_;
    if (other_exit()) out.deadline -= (request_.deadline - SteadyClock::now()) / 2;
    return out;
  }

  SteadyClock::time_point patience(Reason reason) const {
    const auto half = started_ + (request_.deadline - started_) / 2;
    return reason == Reason::connection_refused ? std::min(started_ + refused_patience, half)
                                                : half;
  }

  ServerCore& core_;
  UpstreamRequest request_;
  Trace& trace_;
  SteadyClock::time_point started_ = SteadyClock::now();
  Backoff backoff_;
  std::vector<std::string> tried_;  // exits, in this round
  std::optional<ExitChoice> next_;
};

}  // namespace

awaitable<std::expected<Upstream, Refusal>> open_upstream(ServerCore& core, UpstreamRequest request,
                                                          Trace& trace) {
  Circuit circuit(core, request.destination.to_string());
  if (auto refusal = circuit.enter()) co_return std::unexpected(std::move(*refusal));
  Attempts attempts(core, std::move(request), trace);
  auto upstream = co_await attempts.run();
  circuit.leave(upstream ? Reason::ok : upstream.error().reason);
  co_return upstream;
}

}  // namespace oceanid::proxy
