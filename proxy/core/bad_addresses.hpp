#pragma once
// Which addresses did not connect lately. They are not refused, only tried after the others, for a
// time that doubles with each failure in a row; then they are as good as new. Pure: the time is an
// argument. Bounded. One thread.

#include "gateway/base/net_types.hpp"
#include "proxy/core/lru.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace oceanid::proxy {

class BadAddresses {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds first_penalty{10};
  static constexpr std::chrono::seconds longest_penalty{300};

  explicit BadAddresses(std::size_t capacity = 4096) : entries_(capacity) {}

  void failed(const SocketAddress& address, Time now);
  void succeeded(const SocketAddress& address);
  bool is_bad(const SocketAddress& address, Time now) const;
  // The order kept, but bad ones behind the others; of these, who is forgiven first comes first.
  void bad_ones_last(std::vector<SocketAddress>& addresses, Time now) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint32_t failures = 0;  // in a row
    Time until;
  };
  struct Hash {
    std::size_t operator()(const SocketAddress& address) const;
  };
  Time bad_until(const SocketAddress& address, Time now) const;  // `now` or before: not bad

  Lru<SocketAddress, Entry, Hash> entries_;
};

}  // namespace oceanid::proxy
