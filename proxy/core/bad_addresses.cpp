#include "proxy/core/bad_addresses.hpp"

#include <algorithm>
#include <utility>

namespace oceanid::proxy {

// FNV-1a; who may fill the map (any client that names addresses) can only make it forget, it is
// bounded and a collision costs a comparison.
std::size_t BadAddresses::Hash::operator()(const SocketAddress& address) const {
  std::uint64_t out = 0xcbf29ce484222325U ^ address.port;
  for (const auto byte : address.address.bytes())
    out = (out ^ byte) * 0x100000001b3U;
  return static_cast<std::size_t>(out);
}

void BadAddresses::failed(const SocketAddress& address, Time now) {
  Entry entry;
  if (const Entry* known = entries_.find(address)) entry = *known;
  // Forgiven long ago: it begins anew.
  if (entry.failures > 0 && now - entry.until > longest_penalty) entry = {};
  const auto shift = std::min<std::uint32_t>(entry.failures, 10);
  ++entry.failures;
  entry.until = now + std::min<std::chrono::seconds>(first_penalty * (1 << shift), longest_penalty);
  entries_.put(address, entry);
}

void BadAddresses::succeeded(const SocketAddress& address) {
  if (!entries_.empty()) entries_.erase(address);
}

BadAddresses::Time BadAddresses::bad_until(const SocketAddress& address, Time now) const {
  const Entry* entry = entries_.peek(address);
  return entry == nullptr ? now : std::max(entry->until, now);
}

bool BadAddresses::is_bad(const SocketAddress& address, Time now) const {
  return bad_until(address, now) > now;
}

void BadAddresses::bad_ones_last(std::vector<SocketAddress>& addresses, Time now) const {
  if (entries_.empty() || addresses.size() < 2) return;
  std::vector<std::pair<Time, SocketAddress>> bad;
  std::erase_if(addresses, [&](const SocketAddress& address) {
    const Time until = bad_until(address, now);
    if (until > now) bad.emplace_back(until, address);
    return until > now;
  });
  std::ranges::sort(bad);
  for (const auto& [until, address] : bad)
    addresses.push_back(address);
}

}  // namespace oceanid::proxy
