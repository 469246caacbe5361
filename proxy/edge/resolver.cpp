#include "proxy/edge/resolver.hpp"

#include "gateway/base/runtime/log.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

// RFC 8767 section 5, client response timer: below the 2 s after which clients tend to ask again.
constexpr auto client_response_time = 1800ms;
// A burst of names that expire together must not become a burst of questions that nobody needs.
constexpr std::size_t most_in_background = 16;
constexpr auto tell_again = 30s;
constexpr int usual_tries = 3;

ResolveFailure timed_out() {
  return {Reason::dns_timeout, "no name server answered in time"};
}

AresConfig channel_config(const DnsSettings& settings, const ResolvConf& conf) {
  AresConfig out;
  out.servers = !settings.servers.empty() ? settings.servers : conf.servers;
  if (out.servers.empty()) out.servers.push_back({IpAddress::v4({127, 0, 0, 1}), 53});
  out.rotate = conf.rotate;
  out.tries = conf.attempts.value_or(usual_tries);
  // The waits t, 2t, 4t... of one server fill the look-up's patience.
  out.wait = conf.timeout ? std::min<std::chrono::milliseconds>(*conf.timeout, settings.timeout)
                          : settings.timeout / ((1 << out.tries) - 1);
  out.wait = std::max<std::chrono::milliseconds>(out.wait, 50ms);
  return out;
}

}  // namespace

Resolver::Resolver(asio::io_context& io, ResolverOptions options)
    : io_(io),
      options_(std::move(options)),
      files_(options_.files),
      cache_(options_.settings.cache) {}

Resolver::~Resolver() {
  for (const auto& [name, flight] : flights_)
    flight->lookup->drop();
  channel_.reset();
  for (const auto& [name, flight] : flights_)
    settle(*flight,
           std::unexpected(ResolveFailure{Reason::dns_error, "the look-up's way out is gone"}),
           &DnsCounts::miss);
  cache_.clear();
  count_entries();
}

awaitable<ResolveResult> Resolver::resolve(std::string name) {
  if (const auto literal = IpAddress::parse(name)) co_return Addresses{*literal};
  const auto now = SteadyClock::now();
  if (files_.refresh(now)) renew();
  if (auto listed = files_.hosts().find(name); !listed.empty()) {
    count(&DnsCounts::hosts);
    co_return listed;
  }
  if (auto hit = cache_.find(name, now)) {
    count(hit->result ? &DnsCounts::hit : &DnsCounts::negative);
    if (hit->refresh) in_background(name);
    co_return std::move(hit->result);
  }
  const auto stale = cache_.find_stale(name, now);
  if (stale && stale->at_once) {
    if (stale->ask) in_background(name);
    count(&DnsCounts::stale);
    co_return use_stale(name, *stale);
  }

  const auto flight = join(name, /*background=*/false);
  if (flight->settled) {
    count(&DnsCounts::miss);
    co_return flight->result;
  }
  Timer timer(io_.get_executor());
  timer.expires_after(
      stale ? std::min<std::chrono::milliseconds>(client_response_time, options_.settings.timeout)
            : options_.settings.timeout);
  struct Leave {
    Flight& flight;
    std::list<Timer*>::iterator place;
    ~Leave() { flight.waiting.erase(place); }
  };
  const Leave leave{*flight, flight->waiting.insert(flight->waiting.end(), &timer)};
  auto [ec] = co_await timer.async_wait(as_result);
  if (flight->settled) co_return flight->result;  // this object may be gone
  if (ec)                                         // the task is being cancelled
    throw boost::system::system_error(asio::error::operation_aborted);
  if (!stale) {
    count(&DnsCounts::miss);
    co_return std::unexpected(timed_out());
  }
  cache_.failed(name, timed_out(), SteadyClock::now());  // the next ones need not wait
  count(&DnsCounts::stale);
  co_return use_stale(name, *stale);
}

void Resolver::apply(const DnsSettings& settings) {
  if (settings == options_.settings) return;
  options_.settings = settings;
  cache_ = DnsCache(settings.cache);
  renew();
}

// Other servers, other answers: nothing that is known counts any more, and what is being asked is
// asked again.
void Resolver::renew() {
  for (const auto& [name, flight] : flights_)
    flight->lookup->drop();
  channel_.reset();
  cache_.clear();
  count_entries();
  const auto flights = flights_;  // a look-up that ends at once leaves the map
  for (const auto& [name, flight] : flights)
    look_up(name, *flight);
}

Result<void> Resolver::ensure_channel() {
  if (channel_) return {};
  AresConfig config = channel_config(options_.settings, files_.resolv_conf());
  config.device_for = options_.device_for;
  auto opened = AresChannel::open(io_, std::move(config));
  if (!opened) return std::unexpected(std::move(opened.error()));
  channel_ = std::move(*opened);
  return {};
}

std::shared_ptr<Resolver::Flight> Resolver::join(const std::string& name, bool background) {
  if (const auto found = flights_.find(name); found != flights_.end()) return found->second;
  const auto flight = std::make_shared<Flight>();
  flight->background = background;
  if (background) ++in_background_;
  flights_.emplace(name, flight);
  look_up(name, *flight);
  return flight;
}

void Resolver::look_up(const std::string& name, Flight& flight) {
  flight.lookup = std::make_shared<DnsLookup>(
      io_, search_candidates(name, files_.resolv_conf()),
      SteadyClock::now() + options_.settings.timeout,
      DnsLookup::Listener{
          [this, name](ResolveResult result) { on_settled(name, std::move(result)); },
          [this, name](LookupOutcome outcome) { on_finished(name, std::move(outcome)); }});
  if (auto ready = ensure_channel(); !ready) {
    flight.lookup->drop();
    on_finished(
        name,
        {std::unexpected(ResolveFailure{Reason::internal_error, std::move(ready.error().what)}), 0s,
         false});
  } else {
    flight.lookup->start(*channel_);
  }
}

void Resolver::in_background(const std::string& name) {
  if (in_background_ >= most_in_background || flights_.contains(name)) return;
  count(&DnsCounts::prefetch);
  join(name, /*background=*/true);
}

void Resolver::on_settled(const std::string& name, ResolveResult result) {
  settle(*flights_.at(name), std::move(result), &DnsCounts::miss);
}

void Resolver::on_finished(const std::string& name, LookupOutcome outcome) {
  const auto now = SteadyClock::now();
  auto counted = &DnsCounts::miss;
  if (outcome.result || outcome.certain) {
    cache_.store(name, outcome.result, outcome.ttl, now);
  } else {
    cache_.failed(name, outcome.result.error(), now);
    const auto stale = cache_.find_stale(name, now);
    if (stale && !flights_.at(name)->waiting.empty()) {
      outcome.result = use_stale(name, *stale);
      counted = &DnsCounts::stale;
    }
  }
  count_entries();
  const auto flight = std::move(flights_.extract(name).mapped());
  if (flight->background) --in_background_;
  settle(*flight, std::move(outcome.result), counted);
}

// Who waits wakes later, from the event loop, perhaps after this object's end.
void Resolver::settle(Flight& flight, ResolveResult result, std::uint64_t DnsCounts::* counted) {
  if (flight.settled) return;
  flight.settled = true;
  flight.result = std::move(result);
  if (!flight.waiting.empty()) count(counted, flight.waiting.size());
  for (Timer* timer : flight.waiting)
    timer->cancel();
}

Addresses Resolver::use_stale(const std::string& name, const DnsCache::Stale& stale) {
  const auto now = SteadyClock::now();
  ++used_untold_;
  if (!told_ || now - *told_ >= tell_again) {
    log::warn("proxy", "the name servers do not answer; expired addresses are used",
              {{"name", name},
               {"expired_s", fmt::to_string(stale.age.count())},
               {"times", fmt::to_string(std::exchange(used_untold_, 0))}});
    told_ = now;
  }
  return stale.addresses;
}

void Resolver::count(std::uint64_t DnsCounts::* what, std::uint64_t times) {
  if (options_.stats != nullptr) options_.stats->dns(what, times);
}

// A gauge that all resolvers of the loop share.
void Resolver::count_entries() {
  const std::size_t before = std::exchange(counted_entries_, cache_.size());
  count(&DnsCounts::entries, counted_entries_ - before);  // modulo 2^64 also less
}

}  // namespace oceanid::proxy
