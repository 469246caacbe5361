#include "gateway/process/name_lookup.hpp"

#include "gateway/base/runtime/log.hpp"

#include <expected>
#include <utility>

namespace oceanid::process {
namespace {

using namespace std::chrono_literals;
constexpr auto again_after_success = 30s;
constexpr auto again_after_failure = 5s;

}  // namespace

NameLookup::NameLookup(asio::io_context& io) : io_(io), tasks_(io.get_executor()) {}

void NameLookup::start(std::vector<std::string> names, const tunnel::TunnelSettings& settings,
                       Sink sink) {
  if (round_) round_->sink = nullptr;  // the former round's coroutines see it and end
  proxy::DnsSettings dns;
  dns.servers = settings.dns;
  // An endpoint's name is asked by the underlay: no device, whatever the exits are doing.
  auto unbound = [](const IpAddress&) { return std::expected<std::string, int>(std::string()); };
  round_ = std::make_shared<Round>();
  round_->resolver = std::make_unique<proxy::Resolver>(
      io_, proxy::ResolverOptions{std::move(dns), std::move(unbound), nullptr, {}});
  round_->names = std::move(names);
  round_->sink = std::move(sink);
  for (const auto& name : round_->names)
    tasks_.spawn("endpoint name", ask(round_, name));
}

awaitable<void> NameLookup::ask(std::shared_ptr<Round> round, std::string name) {
  while (round->sink) {
    auto addresses = co_await round->resolver->resolve(name);
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
    co_await sleep_for(addresses ? again_after_success : again_after_failure);
  }
}

awaitable<void> NameLookup::stop() {
  if (round_) round_->sink = nullptr;
  co_await tasks_.stop();
  round_.reset();
}

}  // namespace oceanid::process
