#pragma once
// Going through the messages of one datagram.

#include <utility>

#include <libmnl/libmnl.h>

namespace oceanid::routing {

// Whether a whole message stands there, with `left` bytes to the end. mnl_nlmsg_ok() takes lengths
// for signed (libmnl 1.0.5): one of 2^31 or more would pass, and the next one be sought in front.
inline bool message_fits(const nlmsghdr* message, int left) {
  return mnl_nlmsg_ok(message, left) && std::in_range<int>(message->nlmsg_len);
}

}  // namespace oceanid::routing
