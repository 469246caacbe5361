// Notices of connection tracking: whatever the kernel says, reading stays in bounds, and a flow
// that was understood can be named to the kernel again.
#include "routing/edge/conntrack_codec.hpp"
#include "routing/edge/netlink_walk.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::routing;
  std::vector<nlmsghdr> aligned(size / sizeof(nlmsghdr) + 1);
  std::memcpy(aligned.data(), data, size);
  int left = static_cast<int>(size);
  const nlmsghdr* message = aligned.data();
  for (; message_fits(message, left); message = mnl_nlmsg_next(message, &left)) {
    const auto event = decode_flow(*message);
    if (!event) continue;
    if (event->flow.original.source.family() != event->flow.reply.source.family()) std::abort();
    if (!encode_flow_delete(event->flow).complete()) std::abort();
  }
  return 0;
}
