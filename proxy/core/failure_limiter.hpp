#pragma once
// How often a client may be wrong: wrong passwords cost us hashing and are how guessing looks.
// Pure; bounded however many addresses ask.

#include "gateway/base/net_types.hpp"
#include "proxy/core/token_bucket.hpp"

#include <cstddef>
#include <map>

namespace oceanid::proxy {

class FailureLimiter {
 public:
  using Time = TokenBucket::Time;
  static constexpr double burst = 10;
  static constexpr double per_second = 0.5;
  static constexpr std::size_t max_clients = 4096;

  // Takes one of the client's tries; give it back when the try was right. IPv6 clients count by
  // their /64: who has one address there has them all.
  bool try_once(const IpAddress& client, Time now);
  void was_right(const IpAddress& client);
  std::size_t clients() const { return clients_.size(); }

 private:
  TokenBucket& bucket_of(const IpAddress& client, Time now);

  std::map<IpAddress, TokenBucket> clients_;
  TokenBucket others_{burst, Time(), burst};  // shared by all when too many addresses ask
};

}  // namespace oceanid::proxy
