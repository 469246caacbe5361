#pragma once
// One netlink request under construction in a buffer of its own. An attribute that does not fit
// marks the message, and sending it then fails: nothing is ever cut off silently.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <libmnl/libmnl.h>

#include <linux/netlink.h>

namespace oceanid::routing {

class Message {
 public:
  Message(std::uint16_t type, std::uint16_t flags);

  // Space for the fixed part behind the header (rtmsg, ifinfomsg); zeroed.
  template <typename T>
  T& extra() {
    return *static_cast<T*>(mnl_nlmsg_put_extra_header(header(), sizeof(T)));
  }
  void put(std::uint16_t type, std::span<const std::uint8_t> bytes);
  void put_u8(std::uint16_t type, std::uint8_t value);
  void put_u16(std::uint16_t type, std::uint16_t value);
  void put_u32(std::uint16_t type, std::uint32_t value);
  void put_text(std::uint16_t type, std::string_view text);  // with the terminating zero
  nlattr* begin_nested(std::uint16_t type);
  void end_nested(nlattr* start);

  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(buffer_.data()); }
  const nlmsghdr* header() const { return reinterpret_cast<const nlmsghdr*>(buffer_.data()); }
  bool complete() const { return complete_; }

 private:
  static constexpr std::size_t capacity =
      1024;  // a rule with every attribute takes under 200 bytes
  alignas(nlmsghdr) std::array<std::byte, capacity> buffer_{};
  bool complete_ = true;
};

}  // namespace oceanid::routing
