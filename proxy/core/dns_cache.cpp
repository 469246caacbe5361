#include "proxy/core/dns_cache.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto shortest_ttl = 1s;
constexpr auto longest_ttl = 3600s;
constexpr auto longest_none = 60s;
constexpr auto none_without_soa = 5s;
constexpr auto failure_ttl = 1s;

// RFC 8767 section 5 suggests a day or more. An address of a cloud service may have gone to
// somebody else by then; an hour bridges what an outage of name servers usually takes.
constexpr auto longest_stale = 1h;

// RFC 8767 section 5 asks recursive resolvers to leave authoritative servers alone for 30 s after a
// failure. Ours are resolvers that exist to be asked, and one question for each name and loop in
// 10 s is no load; the shorter it is, the sooner an old address goes out of use.
constexpr auto recheck_after = 10s;

// Asked this often in its time, a name is worth a question that nobody may need.
constexpr std::uint32_t often = 3;
constexpr int refresh_share = 10;  // of the TTL: when a tenth is left

}  // namespace

std::chrono::seconds kept_for(std::chrono::seconds ttl) {
  return std::clamp<std::chrono::seconds>(ttl, shortest_ttl, longest_ttl);
}

std::chrono::seconds none_kept_for(std::optional<std::chrono::seconds> soa) {
  return std::clamp<std::chrono::seconds>(soa.value_or(none_without_soa), shortest_ttl,
                                          longest_none);
}

std::optional<DnsCache::Hit> DnsCache::find(const std::string& name, TimePoint now) {
  Entry* entry = entries_.find(name);
  if (entry == nullptr) return std::nullopt;
  if (entry->expires <= now) {
    // Expired addresses are for find_stale().
    if (!entry->result || entry->expires + longest_stale <= now) entries_.erase(name);
    return std::nullopt;
  }
  Hit out{entry->result};
  ++entry->asked;
  const bool ending = entry->expires - now <= (entry->expires - entry->stored) / refresh_share;
  if (ending && entry->result && entry->asked >= often && !entry->refreshing)
    out.refresh = entry->refreshing = true;
  return out;
}

std::optional<DnsCache::Stale> DnsCache::find_stale(const std::string& name, TimePoint now) {
  const Entry* entry = entries_.peek(name);
  if (entry == nullptr || !entry->result || entry->expires > now ||
      entry->expires + longest_stale <= now)
    return std::nullopt;
  Stale out{*entry->result};
  out.age = std::chrono::duration_cast<std::chrono::seconds>(now - entry->expires);
  if (entry->failed) {
    // While the name is asked again and again, a question in the background each time the recheck
    // is due keeps this up. After a silence nothing is known about the servers any more.
    out.at_once = now - *entry->failed < 2 * recheck_after;
    out.ask = now - *entry->failed >= recheck_after;
  }
  return out;
}

void DnsCache::store(const std::string& name, ResolveResult result, std::chrono::seconds ttl,
                     TimePoint now) {
  entries_.put(name, Entry{std::move(result), now, now + ttl, 0, false, std::nullopt});
}

void DnsCache::failed(const std::string& name, ResolveFailure failure, TimePoint now) {
  Entry* entry = entries_.find(name);
  if (entry != nullptr && entry->result && entry->expires + longest_stale > now) {
    entry->failed = now;
    return;
  }
  store(name, std::unexpected(std::move(failure)), failure_ttl, now);
}

}  // namespace oceanid::proxy
