#pragma once
// What has been learnt about names: addresses for their TTL, failures for a little while, and
// addresses beyond their time for when the name servers are away (RFC 8767). At most `capacity`
// names; the one that was asked longest ago gives way. Time is passed in. Not thread-safe.
//
// A name that is asked often is to be refreshed in the background shortly before it expires, so
// that nobody waits for it.

#include "gateway/base/net_types.hpp"
#include "proxy/core/answer.hpp"
#include "proxy/core/lru.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace oceanid::proxy {

struct ResolveFailure {
  Reason reason = Reason::dns_error;
  std::string detail;
  bool operator==(const ResolveFailure&) const = default;
};
using Addresses = std::vector<IpAddress>;
using ResolveResult = std::expected<Addresses, ResolveFailure>;

// How long what the server said is kept: its TTL, 1 s to 1 h. TTL 0 would ask for every connection;
// a second is less than any client's own life with an address.
std::chrono::seconds kept_for(std::chrono::seconds ttl);
// "There is none": by the zone's SOA record, 1 s to 1 min, since a service that is being deployed
// must not stay unknown for long; 5 s when no record says.
std::chrono::seconds none_kept_for(std::optional<std::chrono::seconds> soa);

class DnsCache {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit DnsCache(std::size_t capacity) : entries_(capacity) {}

  struct Hit {
    ResolveResult result;
    bool refresh = false;  // ask again now, this once; the answer still holds meanwhile
  };
  // An answer whose time has not passed.
  std::optional<Hit> find(const std::string& name, TimePoint now);

  struct Stale {
    Addresses addresses;
    std::chrono::seconds age{};  // since it expired
    // What the last refresh says about the servers: they were away a moment ago, so waiting for
    // them is pointless...
    bool at_once = false;
    bool ask = true;  // ...and whether it is time to ask them again.
  };
  // Addresses whose time has passed, at most an hour ago.
  std::optional<Stale> find_stale(const std::string& name, TimePoint now);

  // An answer, yes or no. It replaces whatever was known, expired addresses included.
  void store(const std::string& name, ResolveResult result, std::chrono::seconds ttl,
             TimePoint now);
  // No answer. Addresses that are known stay; else the failure is remembered for a second
  // (RFC 9520 section 3.2).
  void failed(const std::string& name, ResolveFailure failure, TimePoint now);

  void clear() { entries_.clear(); }
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    ResolveResult result;
    TimePoint stored;
    TimePoint expires;
    std::uint32_t asked = 0;  // since it was stored
    bool refreshing = false;
    std::optional<TimePoint> failed;  // the last refresh
  };
  Lru<std::string, Entry> entries_;
};

}  // namespace oceanid::proxy
