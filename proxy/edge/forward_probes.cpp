#include "proxy/edge/forward_probes.hpp"

#include "proxy/core/proxy_header.hpp"
#include "proxy/edge/target_probe.hpp"
#include "proxy/edge/upstream.hpp"

#include <algorithm>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr milliseconds longest_probe = 5s;
// One lost probe is not an outage; a client's connection that failed is.
constexpr unsigned lost_probes = 2;

}  // namespace

ForwardProbes::ForwardProbes(ServerCore& core) : core_(core), tasks_(core.io().get_executor()) {}

ForwardProbes::~ForwardProbes() = default;

void ForwardProbes::apply(const Runtime& runtime) {
  std::map<Key, std::shared_ptr<Target>> fresh;
  for (const ForwardSettings& forward : runtime.forwards) {
    if (forward.probe == ForwardProbe::none) continue;
    for (const HostPort& address : forward.to) {
      const Key key{forward.name, address};
      const auto known = targets_.find(key);
      auto target = known != targets_.end() && known->second->forward.probe == forward.probe
                        ? known->second
                        : std::make_shared<Target>();
      target->forward = forward;
      target->address = address;
      fresh.emplace(key, std::move(target));
    }
  }
  targets_ = std::move(fresh);
  std::map<std::pair<std::string, std::string>, bool> states;
  for (const auto& [key, target] : targets_)
    states.emplace(std::pair(key.first, key.second.to_string()), target->good);
  core_.stats().forward_targets(std::move(states));
  if (!targets_.empty() && !std::exchange(running_, true)) tasks_.spawn("probes", run());
}

awaitable<void> ForwardProbes::stop() {
  co_await tasks_.stop();
}

std::vector<HostPort> ForwardProbes::in_order(const ForwardSettings& forward) const {
  std::vector<HostPort> out;
  std::vector<HostPort> last;
  for (const HostPort& address : forward.to) {
    const auto found = targets_.find({forward.name, address});
    (found == targets_.end() || found->second->good ? out : last).push_back(address);
  }
  out.insert(out.end(), last.begin(), last.end());
  return out;
}

void ForwardProbes::note(const ForwardSettings& forward, const HostPort& target, bool connected) {
  const auto found = targets_.find({forward.name, target});
  // A connection that opens proves less than an answer: only a probe makes a bad target good again.
  if (found == targets_.end() || connected) return;
  judge(*found->second, false, 1);
}

// The first round comes an interval after the start: by then a client may have told already.
awaitable<void> ForwardProbes::run() {
  for (;;) {
    static_cast<void>(co_await sleep_for(core_.snapshot()->runtime->probe_interval));
    for (const auto& entry : targets_)
      if (!std::exchange(entry.second->under_way, true))
        tasks_.spawn("probe", probe(*this, entry.second));
  }
}

awaitable<void> ForwardProbes::probe(ForwardProbes& self, std::shared_ptr<Target> target) {
  const bool answered = co_await self.ask(target);
  target->under_way = false;
  const auto current = self.targets_.find({target->forward.name, target->address});
  if (current == self.targets_.end() || current->second != target)
    co_return;  // a reload was faster
  self.judge(*target, answered, lost_probes);
}

awaitable<bool> ForwardProbes::ask(std::shared_ptr<Target> target) {
  const auto snapshot = core_.snapshot();
  UpstreamRequest request;
  request.destination = target->address;
  request.exit = target->forward.exit;
  request.guarded = false;
  request.deadline =
      SteadyClock::now() + std::min(longest_probe, snapshot->settings().timeouts.connect);
  const auto deadline = request.deadline;
  Trace unrecorded;
  auto upstream = co_await open_upstream(core_, std::move(request), unrecorded);
  // Without an exit nothing is known about the target.
  if (!upstream) co_return upstream.error().reason == Reason::no_exit ? target->good : false;
  if (target->forward.proxy_protocol)
    static_cast<void>(send_some(upstream->socket.native_handle(), write_local_proxy_header()));
  co_return co_await target_answers(core_.io(), std::move(upstream->socket), target->forward.probe,
                                    target->address.host, deadline);
}

void ForwardProbes::judge(Target& target, bool answered, unsigned failures_allowed) {
  target.failures = answered ? 0 : target.failures + 1;
  const bool good = answered || (target.good && target.failures < failures_allowed);
  if (good == target.good) return;
  target.good = good;
  core_.stats().forward_target(target.forward.name, target.address.to_string(), good);
  log::write(good ? log::Level::info : log::Level::warn, "proxy",
             good ? "a forward's target answers again" : "a forward's target does not answer",
             {{"forward", target.forward.name}, {"target", target.address.to_string()}});
}

}  // namespace oceanid::proxy
