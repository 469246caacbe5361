#include "routing/edge/netlink_message.hpp"

#include <string>

namespace oceanid::routing {

Message::Message(std::uint16_t type, std::uint16_t flags) {
  nlmsghdr* head = mnl_nlmsg_put_header(buffer_.data());
  head->nlmsg_type = type;
  head->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
}

void Message::put(std::uint16_t type, std::span<const std::uint8_t> bytes) {
  complete_ &= mnl_attr_put_check(header(), capacity, type, bytes.size(), bytes.data());
}

void Message::put_u8(std::uint16_t type, std::uint8_t value) {
  complete_ &= mnl_attr_put_u8_check(header(), capacity, type, value);
}

void Message::put_u16(std::uint16_t type, std::uint16_t value) {
  complete_ &= mnl_attr_put_u16_check(header(), capacity, type, value);
}

void Message::put_u32(std::uint16_t type, std::uint32_t value) {
  complete_ &= mnl_attr_put_u32_check(header(), capacity, type, value);
}

void Message::put_text(std::uint16_t type, std::string_view text) {
  complete_ &= mnl_attr_put_strz_check(header(), capacity, type, std::string(text).c_str());
}

nlattr* Message::begin_nested(std::uint16_t type) {
  nlattr* start = mnl_attr_nest_start_check(header(), capacity, type);
  complete_ &= start != nullptr;
  return start;
}

void Message::end_nested(nlattr* start) {
  if (start) mnl_attr_nest_end(header(), start);
}

}  // namespace oceanid::routing
