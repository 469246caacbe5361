#pragma once
// A netlink socket that only listens to multicast groups, on the event loop.

#include "gateway/base/error.hpp"
#include "gateway/base/runtime/asio.hpp"
#include "gateway/base/runtime/unique_fd.hpp"

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <libmnl/libmnl.h>

namespace oceanid::routing {

class NetlinkListener {
 public:
  using Visitor = std::function<void(const nlmsghdr&)>;  // the message is gone afterwards
  enum class Progress : std::uint8_t { empty, more };

  // `buffer`: bytes of notices that may wait; beyond it the kernel drops and says so.
  static Result<NetlinkListener> open(const asio::any_io_executor& executor, int bus,
                                      std::span<const int> groups, int buffer);

  awaitable<bool> wait();  // false: cancelled
  // Reads what is there, but not so much at once that others on the loop would wait: `more`.
  // `overrun` is set when notices were lost.
  Progress drain(const Visitor& visit, bool& overrun);

 private:
  NetlinkListener(const asio::any_io_executor& executor, UniqueFd socket);
  asio::posix::stream_descriptor descriptor_;
  std::vector<nlmsghdr> buffer_;  // aligned space for one datagram
};

}  // namespace oceanid::routing
