#include "gateway/process/name_lookup.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <expected>
#include <string>
#include <utility>
#include <vector>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto again_after_success = 30s;
constexpr auto again_after_failure = 5s;
constexpr auto again_when_urgent = 2s;

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

}  // namespace

NameLookup::NameLookup(asio::io_context& io) : io_(io), tasks_(io.get_executor()) {}

void NameLookup::start(std::vector<std::string> names, const tunnel::TunnelSettings& settings,
                       Sink sink) {
  if (round_) round_->sink = nullptr;  // the former round's coroutines see it and end
  // An endpoint's name is asked by the underlay: no device, whatever the exits are doing.
  auto make = [this, servers = settings.dns] {
    proxy::DnsSettings dns;
    dns.servers = servers;
    auto unbound = [](const IpAddress&) { return std::expected<std::string, int>(std::string()); };
    return std::make_unique<proxy::Resolver>(
        io_, proxy::ResolverOptions{std::move(dns), std::move(unbound), nullptr, {}});
  };
  round_ = std::make_shared<Round>();
  round_->resolver = make();
  round_->make_resolver = std::move(make);
  round_->names = std::move(names);
  round_->sink = std::move(sink);
  for (const auto& name : round_->names) {
    round_->pauses.try_emplace(name, io_);
    tasks_.spawn("endpoint name", ask(round_, name));
  }
}

void NameLookup::hurry(std::vector<std::string> names) {
  if (!round_) return;
  const auto before = std::exchange(round_->urgent, std::move(names));
  for (auto& [name, timer] : round_->pauses)
    if (contains(round_->urgent, name) && !contains(before, name)) timer.cancel();
}

awaitable<void> NameLookup::ask(std::shared_ptr<Round> round, std::string name) {
  while (round->sink) {
    std::unique_ptr<proxy::Resolver> fresh;
    if (contains(round->urgent, name)) fresh = round->make_resolver();
    auto addresses = co_await (fresh ? fresh : round->resolver)->resolve(name);
    if (!round->sink) co_return;
    if (addresses) {
      ipc::Resolved resolved;
      resolved.name = name;
      resolved.addresses = std::move(*addresses);
      round->sink(resolved);
    } else {
      log::warn("tunnel", "a peer's endpoint name could not be resolved; its last address stays",
                {{"name", name}, {"error", addresses.error().detail}});
    }
    co_await pause(*round, name, addresses.has_value());
  }
}

// A name that becomes urgent during its pause is asked at once.
awaitable<void> NameLookup::pause(Round& round, const std::string& name, bool answered) {
  asio::steady_timer& timer = round.pauses.at(name);
  if (contains(round.urgent, name))
    timer.expires_after(again_when_urgent);
  else if (answered)
    timer.expires_after(again_after_success);
  else
    timer.expires_after(again_after_failure);
  auto [ec] = co_await timer.async_wait(as_result);
  static_cast<void>(ec);  // cancelled: hurry()
}

awaitable<void> NameLookup::stop() {
  if (round_) round_->sink = nullptr;
  co_await tasks_.stop();
  round_.reset();
}

}  // namespace oceanid::process
