#include "proxy/edge/resolver.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto resolution_delay = 50ms;  // RFC 8305 section 8
constexpr auto shortest_ttl = 1s;
constexpr auto longest_ttl = 1h;
// A name that appears a moment after the first client asked (a service being deployed) must not
// stay unknown for long.
constexpr auto failure_ttl = 5s;

struct AnswerFree {
  void operator()(ares_addrinfo* answer) const { ares_freeaddrinfo(answer); }
};

bool is_answer(int status) {
  return status == ARES_SUCCESS || status == ARES_ENOTFOUND || status == ARES_ENODATA;
}

ResolveFailure failure_of(int status) {
  if (status == ARES_ETIMEOUT) return {Reason::dns_timeout, "no name server answered in time"};
  if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
    return {Reason::dns_error,
            status == ARES_ENOTFOUND ? "the name does not exist" : "the name has no address"};
  return {Reason::dns_error, fmt::format("the name servers failed: {}", ares_strerror(status))};
}

}  // namespace

Resolver::Resolver(asio::io_context& io, DnsSettings settings,
                   std::function<std::expected<std::string, int>(const IpAddress&)> device_for)
    : io_(io), settings_(std::move(settings)), device_for_(std::move(device_for)) {}

Resolver::~Resolver() {
  channel_.reset();
}

awaitable<ResolveResult> Resolver::resolve(std::string name) {
  if (const auto literal = IpAddress::parse(name)) co_return Addresses{*literal};
  if (const auto hit = cache_.find(name); hit != cache_.end()) {
    if (hit->second.expires > SteadyClock::now()) co_return hit->second.result;
    cache_.erase(hit);
  }
  if (auto ready = ensure_channel(); !ready)
    co_return std::unexpected(ResolveFailure{Reason::internal_error, ready.error().what});

  const auto found = lookups_.find(name);
  const std::shared_ptr<Lookup> lookup = found != lookups_.end() ? found->second : start(name);
  Timer timer(io_.get_executor());
  timer.expires_after(settings_.timeout);
  struct Leave {
    Lookup& lookup;
    std::list<Timer*>::iterator place;
    ~Leave() { lookup.waiting.erase(place); }
  };
  const Leave leave{*lookup, lookup->waiting.insert(lookup->waiting.end(), &timer)};
  if (!lookup->settled) {
    auto [ec] = co_await timer.async_wait(as_result);
    if (ec && !lookup->settled)  // the task is being cancelled
      throw boost::system::system_error(asio::error::operation_aborted);
  }
  if (!lookup->settled) co_return std::unexpected(failure_of(ARES_ETIMEOUT));
  co_return result_of(*lookup);
}

Result<void> Resolver::ensure_channel() {
  if (channel_) return {};
  AresConfig config;
  config.servers = settings_.servers;
  config.timeout = settings_.timeout;
  config.device_for = device_for_;
  auto opened = AresChannel::open(io_, std::move(config));
  if (!opened) return std::unexpected(std::move(opened.error()));
  channel_ = std::move(*opened);
  return {};
}

std::shared_ptr<Resolver::Lookup> Resolver::start(const std::string& name) {
  const auto lookup = std::make_shared<Lookup>();
  lookups_.emplace(name, lookup);
  const auto ask = [&](Family family, Part& part) {
    channel_->ask(name, family, [this, name, lookup, &part](int status, ares_addrinfo* answer) {
      on_part(name, lookup, part, status, answer);
    });
  };
  ask(Family::v4, lookup->v4);
  ask(Family::v6, lookup->v6);
  return lookup;
}

void Resolver::on_part(const std::string& name, const std::shared_ptr<Lookup>& lookup, Part& part,
                       int status, ares_addrinfo* answer) {
  const std::unique_ptr<ares_addrinfo, AnswerFree> owned(answer);
  part.done = true;
  part.status = status;
  part.ttl = longest_ttl;
  for (const auto* node = owned ? owned->nodes : nullptr; node != nullptr; node = node->ai_next) {
    NativeAddress raw;
    std::copy_n(reinterpret_cast<const char*>(node->ai_addr),
                std::min<std::size_t>(node->ai_addrlen, sizeof raw.storage),
                reinterpret_cast<char*>(&raw.storage));
    const IpAddress address = plain_address(raw).address;
    if (std::ranges::find(part.addresses, address) == part.addresses.end())
      part.addresses.push_back(address);
    part.ttl = std::clamp<SteadyClock::duration>(std::chrono::seconds(node->ai_ttl), shortest_ttl,
                                                 part.ttl);
  }
  if (part.status == ARES_SUCCESS && part.addresses.empty()) part.status = ARES_ENODATA;

  if (lookup->v4.done && lookup->v6.done) {
    finish(name, *lookup);
  } else if (!part.addresses.empty()) {
    lookup->patience = std::make_unique<Timer>(io_.get_executor());
    lookup->patience->expires_after(resolution_delay);
    lookup->patience->async_wait([weak = std::weak_ptr(lookup)](error_code ec) {
      const auto alive = weak.lock();
      if (!ec && alive) settle(*alive);
    });
  }
}

void Resolver::settle(Lookup& lookup) {
  lookup.settled = true;
  for (Timer* timer : lookup.waiting)
    timer->cancel();
}

void Resolver::finish(const std::string& name, Lookup& lookup) {
  settle(lookup);
  auto result = result_of(lookup);
  const bool certain = is_answer(lookup.v4.status) && is_answer(lookup.v6.status);
  // Half an answer (one family timed out) and outages are not remembered beyond the moment.
  const auto ttl = !result   ? (certain ? SteadyClock::duration(failure_ttl) : 0s)
                   : certain ? std::min(lookup.v4.ttl, lookup.v6.ttl)
                             : SteadyClock::duration(shortest_ttl);
  if (ttl > SteadyClock::duration::zero()) remember(name, std::move(result), ttl);
  const std::string key = name;  // `name` may live inside the entry
  lookups_.erase(key);
}

void Resolver::remember(const std::string& name, ResolveResult result, SteadyClock::duration ttl) {
  if (settings_.cache == 0) return;
  const auto now = SteadyClock::now();
  if (cache_.size() >= settings_.cache) {
    std::erase_if(cache_, [&](const auto& entry) { return entry.second.expires <= now; });
    if (cache_.size() >= settings_.cache) cache_.erase(cache_.begin());
  }
  cache_.insert_or_assign(name, Cached{std::move(result), now + ttl});
}

ResolveResult Resolver::result_of(const Lookup& lookup) {
  Addresses out = lookup.v6.addresses;
  out.insert(out.end(), lookup.v4.addresses.begin(), lookup.v4.addresses.end());
  if (!out.empty()) return out;
  // Of two failures the one that is not "no such record" says more.
  return std::unexpected(
      failure_of(is_answer(lookup.v4.status) ? lookup.v6.status : lookup.v4.status));
}

}  // namespace oceanid::proxy
