#include "tests/unit/proxy/dns_wire.hpp"

#include "gateway/base/net_types.hpp"

#include <algorithm>

namespace oceanid::proxy::test {

std::string dns_u16(std::uint32_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}

std::string dns_u32(std::uint32_t value) {
  return dns_u16(value >> 16) + dns_u16(value);
}

std::string dns_name(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto end = std::min(name.find('.'), name.size());
    out += static_cast<char>(end);
    out += name.substr(0, end);
    name.remove_prefix(std::min(end + 1, name.size()));
  }
  return out + '\0';
}

std::string dns_question(std::string_view name, std::uint16_t type) {
  return dns_name(name) + dns_u16(type) + dns_u16(1);
}

std::string dns_address(std::string_view text) {
  const auto address = IpAddress::parse(text).value();
  return {address.bytes().begin(), address.bytes().end()};
}

std::string dns_soa_data(std::uint32_t minimum) {
  return dns_name("ns.example.test") + dns_name("hostmaster.example.test") + dns_u32(1) +
         dns_u32(3600) + dns_u32(600) + dns_u32(86400) + dns_u32(minimum);
}

std::string encode(const DnsMessage& message) {
  std::string out = dns_u16(message.id) + dns_u16(message.flags) + dns_u16(1) +
                    dns_u16(static_cast<std::uint32_t>(message.answers.size())) +
                    dns_u16(static_cast<std::uint32_t>(message.authority.size())) + dns_u16(0) +
                    message.question;
  for (const auto* section : {&message.answers, &message.authority})
    for (const DnsRecord& record : *section)
      out += record.owner + dns_u16(record.type) + dns_u16(1) + dns_u32(record.ttl) +
             dns_u16(static_cast<std::uint32_t>(record.data.size())) + record.data;
  return out;
}

}  // namespace oceanid::proxy::test
