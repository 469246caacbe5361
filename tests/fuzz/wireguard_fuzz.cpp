// The kernel's answers about a WireGuard device (generic netlink): the library's parser and our
// conversion stay in bounds, and what was understood can be said in WireGuard's other language, by
// which the userspace backend says it.
#include "routing/edge/netlink_walk.hpp"
#include "tunnel/core/uapi_codec.hpp"
#include "tunnel/edge/kernel_reading.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <linux/netlink.h>

extern "C" {
#include <wireguard.h>
wg_device* wireguard_answer(const void* bytes, std::size_t size);
}

namespace {

// As far as there are whole messages: their lengths are netlink's own, below what WireGuard writes,
// and the library takes one beyond 2 GiB for negative.
std::size_t framed(const nlmsghdr* first, std::size_t size) {
  int left = static_cast<int>(size);
  for (const nlmsghdr* message = first; oceanid::routing::message_fits(message, left);)
    message = mnl_nlmsg_next(message, &left);
  return size - static_cast<std::size_t>(std::max(left, 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace oceanid::tunnel;
  // As large as what was received, so that reading beyond it is seen, and aligned as it was.
  std::vector<std::uint32_t> received((size + sizeof(std::uint32_t) - 1) / sizeof(std::uint32_t));
  if (size > 0) std::memcpy(received.data(), data, size);
  const auto* const first = reinterpret_cast<const nlmsghdr*>(received.data());
  wg_device* const device = wireguard_answer(first, framed(first, size));
  if (device == nullptr) return 0;
  const auto name = oceanid::IfName::parse("oc-fuzz").value();
  DeviceReading reading = reading_of(name, *device);
  wg_free_device(device);
  for (PeerSnapshot& peer : reading.snapshot.peers)  // port 0 cannot be said there
    if (peer.endpoint && peer.endpoint->port == 0) peer.endpoint.reset();
  const auto again = uapi::decode_get(name, uapi::encode_get_answer(reading));
  if (!again || !(*again == reading)) std::abort();
  return 0;
}
