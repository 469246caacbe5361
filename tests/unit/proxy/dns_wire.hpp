#pragma once
// DNS messages put together by hand (RFC 1035 section 4).

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace oceanid::proxy::test {

struct DnsRecord {
  std::string owner;  // already encoded: dns_name() or a pointer
  std::uint16_t type = 1;
  std::uint32_t ttl = 60;
  std::string data;
};

struct DnsMessage {
  std::uint16_t id = 0;
  unsigned flags = 0x8180;  // with the return code
  std::string question;     // name, type and class, encoded
  std::vector<DnsRecord> answers = {};
  std::vector<DnsRecord> authority = {};
};

inline constexpr std::uint16_t dns_a = 1;
inline constexpr std::uint16_t dns_cname = 5;
inline constexpr std::uint16_t dns_soa = 6;
inline constexpr std::uint16_t dns_aaaa = 28;

std::string dns_u16(std::uint32_t value);
std::string dns_u32(std::uint32_t value);
std::string dns_name(std::string_view name);  // uncompressed
std::string dns_question(std::string_view name, std::uint16_t type);
std::string dns_address(std::string_view text);
std::string dns_soa_data(std::uint32_t minimum);
std::string encode(const DnsMessage& message);

inline const std::string dns_asked_name = "\xc0\x0c";  // a pointer to the question's name

}  // namespace oceanid::proxy::test
