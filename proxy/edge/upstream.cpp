#include "proxy/edge/upstream.hpp"

#include "proxy/core/backoff.hpp"
#include "proxy/edge/parent_dialer.hpp"
#include "proxy/edge/upstream_steps.hpp"

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
  std::string out = none_usable(request.exit);
  if (table == nullptr) return out;
  for (const ExitState& exit : table->exits)
    if (may_use(request.exit, exit.name) && !exit.reason.empty())
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

awaitable<std::expected<Upstream, Refusal>> try_once(ServerCore& core, UpstreamRequest request,
                                                     ExitChoice exit, Trace& trace) {
  auto resolved = co_await resolve_destination(core, request, exit, trace);
  if (!resolved) co_return failed(resolved.error().reason, resolved.error().detail);
  auto targets = judge_addresses(core, request, *resolved, Needed::one, trace);
  if (!targets) co_return std::unexpected(std::move(targets.error()));
  const auto dialled = SteadyClock::now();
  auto connected = co_await dial_by(core, exit, std::move(*targets), request.deadline);
  if (!connected) {
    const DialFailure& failure = connected.error();
    const std::string next_hop = failure.address ? failure.address->to_string() : std::string();
    trace.record.address = next_hop;
    co_return failed(failure.reason, failure.detail, next_hop);
  }
  note_connected(core, trace, dialled);
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

// Over the exits and over time: the next usable exit (of those that the request is held to) when
// one cannot connect, then all of them again after a pause.
class Attempts {
 public:
  Attempts(ServerCore& core, UpstreamRequest request, std::optional<ParentProxy> parent,
           Trace& trace)
      : core_(core),
        request_(std::move(request)),
        parent_(std::move(parent)),
        trace_(trace),
        backoff_(first_pause, longest_pause) {}

  awaitable<std::expected<Upstream, Refusal>> run() {
    for (;;) {
      auto exit = next_ ? std::exchange(next_, {}) : co_await wait_for_exit(core_, request_);
      if (!exit) co_return failed(Reason::no_exit, why_no_exit(core_, request_));
      trace_.record.exit = exit->name;
      tried_.push_back(exit->name);
      auto upstream = co_await attempt(*exit);
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
  awaitable<std::expected<Upstream, Refusal>> attempt(ExitChoice exit) {
    if (!parent_) co_return co_await try_once(core_, shared_deadline(), std::move(exit), trace_);
    if (!cleared_) {
      if (auto refusal = co_await clear_for_parent(core_, request_, exit, trace_))
        co_return std::unexpected(std::move(*refusal));
      cleared_ = true;
    }
    co_return co_await try_parent(core_, shared_deadline(), *parent_, std::move(exit), trace_);
  }

  std::optional<ExitChoice> other_exit() const {
    const auto snapshot = core_.snapshot();
    if (!snapshot->runtime->exits_configured) return std::nullopt;
    return another_exit(snapshot->runtime->exits.get(), request_.exit, tried_);
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
  std::optional<ParentProxy> parent_;
  bool cleared_ = false;  // the destination, for the parent
  Trace& trace_;
  SteadyClock::time_point started_ = SteadyClock::now();
  Backoff backoff_;
  std::vector<std::string> tried_;  // exits, in this round
  std::optional<ExitChoice> next_;
};

}  // namespace

awaitable<std::expected<Upstream, Refusal>> open_upstream(ServerCore& core, UpstreamRequest request,
                                                          Trace& trace) {
  std::optional<ParentProxy> parent;
  if (request.guarded) parent = core.snapshot()->settings().parent;
  Circuit circuit(core, (parent ? parent->at : request.destination).to_string());
  if (auto refusal = circuit.enter()) co_return std::unexpected(std::move(*refusal));
  Attempts attempts(core, std::move(request), parent, trace);
  auto upstream = co_await attempts.run();
  const Reason reason = upstream ? Reason::ok : upstream.error().reason;
  circuit.leave(parent_answered(reason) ? Reason::ok : reason);
  if (!upstream && parent) upstream.error() = as_parents(std::move(upstream.error()), *parent);
  co_return upstream;
}

}  // namespace oceanid::proxy
