#pragma once
// Names to addresses for one way out: hosts file, search domains and servers as c-ares knows them,
// A and AAAA asked in parallel, a cache that honours the TTL (1 s to 1 h; failures 5 s), one query
// for all who ask the same name at the same time. One thread.
//
// When one family has answered, the other gets 50 ms more (RFC 8305 section 3, resolution delay);
// what comes later still reaches the cache.
//
// May be destroyed while somebody waits: they are told that the look-up failed.

#include "proxy/core/answer.hpp"
#include "proxy/core/settings.hpp"
#include "proxy/edge/ares_channel.hpp"

#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace oceanid::proxy {

struct ResolveFailure {
  Reason reason = Reason::dns_error;
  std::string detail;
};
using Addresses = std::vector<IpAddress>;
using ResolveResult = std::expected<Addresses, ResolveFailure>;

class Resolver {
 public:
  Resolver(asio::io_context& io, DnsSettings settings,
           std::function<std::expected<std::string, int>(const IpAddress& server)> device_for);
  ~Resolver();

  // At least one address, or why there is none. An address literal answers itself.
  awaitable<ResolveResult> resolve(std::string name);

 private:
  struct Part {
    bool done = false;
    int status = 0;
    Addresses addresses;
    SteadyClock::duration ttl{};
  };
  struct Lookup {
    Part v4;
    Part v6;
    bool settled = false;
    std::list<Timer*> waiting;
    std::unique_ptr<Timer> patience;  // the resolution delay
  };
  struct Cached {
    ResolveResult result;
    SteadyClock::time_point expires;
  };

  std::shared_ptr<Lookup> start(const std::string& name);
  Result<void> ensure_channel();
  void on_part(const std::string& name, const std::shared_ptr<Lookup>& lookup, Part& part,
               int status, ares_addrinfo* answer);
  static void settle(Lookup& lookup);
  void finish(const std::string& name, Lookup& lookup);
  void remember(const std::string& name, ResolveResult result, SteadyClock::duration ttl);
  static ResolveResult result_of(const Lookup& lookup);

  asio::io_context& io_;
  DnsSettings settings_;
  std::function<std::expected<std::string, int>(const IpAddress&)> device_for_;
  std::unordered_map<std::string, std::shared_ptr<Lookup>> lookups_;
  std::unordered_map<std::string, Cached> cache_;
  std::unique_ptr<AresChannel> channel_;  // last: its destructor calls back into the maps above
};

}  // namespace oceanid::proxy
