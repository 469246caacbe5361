#include "proxy/core/failure_limiter.hpp"

#include "proxy/core/client_acl.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace oceanid::proxy {
namespace {

IpAddress owner_of(const IpAddress& client) {
  const IpAddress plain = unmapped(client);
  if (plain.is_v4()) return plain;
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(plain.bytes().first(8), bytes.begin());
  return IpAddress::v6(bytes);
}

}  // namespace

TokenBucket& FailureLimiter::bucket_of(const IpAddress& client, Time now) {
  const IpAddress owner = owner_of(client);
  if (const auto known = clients_.find(owner); known != clients_.end()) return known->second;
  if (clients_.size() >= max_clients)
    for (auto at = clients_.begin(); at != clients_.end();)
      at = at->second.full(now) ? clients_.erase(at) : std::next(at);
  if (clients_.size() >= max_clients) return others_;
  return clients_.emplace(owner, TokenBucket(per_second, now, burst)).first->second;
}

bool FailureLimiter::try_once(const IpAddress& client, Time now) {
  return bucket_of(client, now).take_one(now);
}

void FailureLimiter::was_right(const IpAddress& client) {
  const auto known = clients_.find(owner_of(client));
  (known == clients_.end() ? others_ : known->second).give_back(1);
}

}  // namespace oceanid::proxy
