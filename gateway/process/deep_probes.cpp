#include "gateway/process/deep_probes.hpp"

#include "proxy/core/public_server.hpp"
#include "tunnel/core/deep_book.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <expected>
#include <optional>
#include <utility>
#include <vector>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using tunnel::HealthTarget;

constexpr auto again_after_failure = 250ms;
constexpr auto look_again = 250ms;  // for the device of an exit that has none

// Which way through the exit; none: it has no device now.
std::optional<proxy::ExitChoice> way(const ExitTable& table, const std::string& exit) {
  if (exit.empty()) return proxy::ExitChoice();
  const auto found = std::ranges::find(table.exits, exit, &ExitState::name);
  if (found == table.exits.end() || !found->device) return std::nullopt;
  return proxy::ExitChoice{exit, found->device->str(), found->ipv4, found->ipv6};
}

std::optional<proxy::DeepQuestion> question_of(const HealthTarget& target) {
  proxy::DeepQuestion out;
  out.status = target.status;
  const auto at = [&](proxy::DeepKind kind) -> std::optional<proxy::DeepQuestion> {
    const auto to = HostPort::parse(target.target);
    if (!to) return std::nullopt;
    out.kind = kind;
    out.to = *to;
    return out;
  };
  switch (target.kind) {
    case HealthTarget::Kind::tcp:
      return at(proxy::DeepKind::tcp);
    case HealthTarget::Kind::tls:
      return at(proxy::DeepKind::tls);
    case HealthTarget::Kind::postgres:
      return at(proxy::DeepKind::postgres);
    case HealthTarget::Kind::dns:
      out.kind = proxy::DeepKind::dns;
      out.to.host = target.target;
      return out;
    case HealthTarget::Kind::http:
    case HealthTarget::Kind::ready:
      out.kind = proxy::DeepKind::http;
      out.url = proxy::parse_probe_url(target.target);
      if (!out.url) return std::nullopt;
      out.to = out.url->authority;
      return out;
  }
  return std::nullopt;
}

}  // namespace

// One configuration's probes. A resolver for each exit, so that names are asked through it.
struct DeepProbes::Round {
  Round(asio::io_context& loop, const Config& config,
        const std::shared_ptr<const proxy::Runtime>& runtime)
      : io(loop),
        dns(config.proxy.dns),
        serving(std::make_shared<const proxy::Snapshot>(runtime)) {}

  asio::io_context& io;
  proxy::DnsSettings dns;
  std::shared_ptr<const proxy::Snapshot> serving;
  Sink sink;  // none: the round is over
  std::shared_ptr<const ExitTable> exits;
  SslContext trust = proxy::probe_trust();
  std::map<std::string, std::unique_ptr<proxy::Resolver>> resolvers;

  std::unique_ptr<proxy::Resolver> make_resolver(const std::string& exit) {
    proxy::ResolverOptions options;
    options.settings = dns;
    options.device_for = [this, exit](const IpAddress& server) -> std::expected<std::string, int> {
      // As the proxy does it: the cluster's and the host's own servers are not beyond the exit.
      if (exit.empty() || !proxy::is_public_server(serving->guard, server)) return std::string();
      const auto chosen = way(*exits, exit);
      if (!chosen || !(server.is_v4() ? chosen->ipv4 : chosen->ipv6))
        return std::unexpected(ENETUNREACH);
      return chosen->device;
    };
    return std::make_unique<proxy::Resolver>(io, std::move(options));
  }
};

DeepProbes::DeepProbes(asio::io_context& io, Sink sink)
    : io_(io), sink_(std::move(sink)), tasks_(io.get_executor()) {}

void DeepProbes::apply(const Config& config, const std::shared_ptr<const proxy::Runtime>& runtime) {
  if (round_) round_->sink = nullptr;
  round_.reset();
  const auto& health = config.health;
  if (health.targets.empty() && !health.exit_ip.url) return;
  round_ = std::make_shared<Round>(io_, config, runtime);
  round_->dns.timeout = std::min(round_->dns.timeout, health.target_timeout);
  round_->sink = sink_;
  round_->exits = exits_;
  std::vector<std::string> exits;
  for (const auto& exit : config.exits)
    exits.push_back(exit.name);
  if (exits.empty()) exits.emplace_back();
  std::vector<Question> questions;
  for (const auto& target : health.targets) {
    const auto ask = question_of(target);
    if (!ask) continue;
    for (const auto& exit : tunnel::is_neighbour(target) ? std::vector<std::string>{""} : exits)
      questions.push_back(
          {exit, tunnel::name_of(target), *ask, health.target_interval, health.target_timeout});
  }
  if (health.exit_ip.url)
    if (const auto url = proxy::parse_probe_url(*health.exit_ip.url))
      for (const auto& exit : exits) {
        proxy::DeepQuestion ask;
        ask.kind = proxy::DeepKind::http;
        ask.url = url;
        ask.to = url->authority;
        ask.wants_address = true;
        questions.push_back({exit, std::string(tunnel::address_probe), std::move(ask),
                             health.exit_ip.interval, health.target_timeout});
      }
  for (auto& question : questions) {
    auto& resolver = round_->resolvers[question.exit];
    if (!resolver) resolver = round_->make_resolver(question.exit);
    tasks_.spawn("deep probe", repeat(round_, std::move(question)));
  }
}

void DeepProbes::follow(const std::shared_ptr<const ExitTable>& exits) {
  exits_ = exits;
  if (round_) round_->exits = exits;
}

awaitable<proxy::DeepAnswer> DeepProbes::ask(const std::shared_ptr<Round>& round,
                                             const Question& question, proxy::ExitChoice exit) {
  const auto deadline = Clock::now() + question.patience;
  // A name that is asked for its own sake is not answered from a cache.
  std::unique_ptr<proxy::Resolver> fresh;
  if (question.ask.kind == proxy::DeepKind::dns) fresh = round->make_resolver(question.exit);
  proxy::Resolver& resolver = fresh ? *fresh : *round->resolvers.at(question.exit);
  co_return co_await proxy::ask_deep(round->io, question.ask, std::move(exit), resolver,
                                     round->trust.get(), deadline);
}

awaitable<void> DeepProbes::repeat(std::shared_ptr<Round> round, Question question) {
  bool good = true;
  std::optional<std::size_t> active;
  while (round->sink) {
    const auto exit = way(*round->exits, question.exit);
    if (!exit) {
      static_cast<void>(co_await sleep_for(look_again));
      continue;
    }
    active = round->exits->active;
    const auto begun = Clock::now();
    const auto answer = co_await ask(round, question, *exit);
    if (!round->sink) co_return;
    ipc::Probes probes;
    auto& result = probes.results.emplace_back();
    result.exit = question.exit;
    result.target = question.target;
    result.good = answer.good;
    result.error = answer.error;
    result.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    result.certificate_days = answer.certificate_days;
    result.seen = answer.seen;
    round->sink(probes);
    const bool first_failure = good && !answer.good;
    good = answer.good;
    auto rest = first_failure ? std::chrono::milliseconds(again_after_failure) : question.interval;
    // After a switch the address is looked at anew.
    while (round->sink && rest > 0ms &&
           (question.target != tunnel::address_probe || round->exits->active == active)) {
      const auto step = std::min<std::chrono::milliseconds>(rest, 500ms);
      static_cast<void>(co_await sleep_for(step));
      rest -= step;
    }
  }
}

awaitable<void> DeepProbes::stop() {
  if (round_) round_->sink = nullptr;
  co_await tasks_.stop();
  round_.reset();
}

}  // namespace oceanid::process
