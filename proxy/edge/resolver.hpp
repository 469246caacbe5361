#pragma once
// Names to addresses for one way out, as a host's own resolver does it: /etc/hosts first, then the
// cache, then the name servers by way of the search list. One question for all who ask the same
// name at the same time. One thread.
//
//   - A changed /etc/hosts or /etc/resolv.conf counts from the next question on, a second later at
//     most; with other servers or another search list everything is asked anew.
//   - Names that are asked often are refreshed in the background before they expire.
//   - When the servers fail or take longer than 1.8 s, addresses that have expired are used
//     (RFC 8767); never when the servers say that the name is gone.
//
// May be destroyed while somebody waits: they are told that the look-up failed.

#include "proxy/core/dns_cache.hpp"
#include "proxy/core/settings.hpp"
#include "proxy/edge/dns_lookup.hpp"
#include "proxy/edge/host_files.hpp"
#include "proxy/edge/stats_book.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

namespace oceanid::proxy {

struct ResolverOptions {
  DnsSettings settings;
  // The device that a socket towards this server must be bound to; see AresConfig.
  std::function<std::expected<std::string, int>(const IpAddress& server)> device_for;
  StatsBook* stats = nullptr;  // null: nothing is counted
  HostFilePaths files;
};

class Resolver {
 public:
  Resolver(asio::io_context& io, ResolverOptions options);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // At least one address, or why there is none. An address literal answers itself; a trailing dot
  // keeps the name from being searched for.
  awaitable<ResolveResult> resolve(std::string name);

  // Who waits now is answered by the new servers.
  void apply(const DnsSettings& settings);

 private:
  // A name that is being asked, and who waits for it.
  struct Flight {
    std::shared_ptr<DnsLookup> lookup;
    bool settled = false;
    bool background = false;  // nobody had to wait for it when it began
    ResolveResult result;
    std::list<Timer*> waiting;
  };

  void renew();
  Result<void> ensure_channel();
  std::shared_ptr<Flight> join(const std::string& name, bool background);
  void look_up(const std::string& name, Flight& flight);
  void in_background(const std::string& name);
  void on_settled(const std::string& name, ResolveResult result);
  void on_finished(const std::string& name, LookupOutcome outcome);
  void settle(Flight& flight, ResolveResult result, std::uint64_t DnsCounts::* counted);
  Addresses use_stale(const std::string& name, const DnsCache::Stale& stale);
  void count(std::uint64_t DnsCounts::* what, std::uint64_t times = 1);
  void count_entries();

  asio::io_context& io_;
  ResolverOptions options_;
  HostFiles files_;
  DnsCache cache_;
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights_;
  std::unique_ptr<AresChannel> channel_;
  std::size_t in_background_ = 0;
  std::size_t counted_entries_ = 0;
  std::optional<SteadyClock::time_point> told_;  // that expired addresses are in use
  std::uint64_t used_untold_ = 0;
};

}  // namespace oceanid::proxy
