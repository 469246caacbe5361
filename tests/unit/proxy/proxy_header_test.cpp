#include "proxy/core/proxy_header.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using State = ProxyHeaderRead::State;
using namespace std::string_literals;

SocketAddress at(std::string_view text) {
  return SocketAddress::parse(text).value();
}

// A version 2 header by hand: command and family as given, any body.
std::string v2(char command, char family, const std::string& body) {
  return "\r\n\r\n\0\r\nQUIT\n"s + command + family + static_cast<char>(body.size() >> 8) +
         static_cast<char>(body.size() & 0xff) + body;
}

const std::string v4_body = "\xc0\x00\x02\x01\xcb\x00\x71\x05\xd4\x31\x01\xbb"s;

TEST(ProxyHeader, ReadsBothVersions) {
  struct Row {
    std::string bytes;
    std::optional<ProxyHeader> header;
  };
  const std::string v6_body = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01"s +
                              std::string(10, '\0') + "\xff\xff\xc0\x00\x02\x07"s +
                              "\x00\x01\xff\xff"s;
  const Row rows[] = {
      {"PROXY TCP4 192.0.2.1 203.0.113.5 54321 443\r\n",
       ProxyHeader{at("192.0.2.1:54321"), at("203.0.113.5:443")}},
      {"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n",
       ProxyHeader{at("[2001:db8::1]:1"), at("[2001:db8::2]:65535")}},
      {"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n",
       ProxyHeader{at("192.0.2.1:1"), at("[2001:db8::2]:2")}},
      {"PROXY UNKNOWN\r\n", std::nullopt},
      {"PROXY UNKNOWN ffff::1 anything at all\r\n", std::nullopt},
      {v2(0x21, 0x11, v4_body), ProxyHeader{at("192.0.2.1:54321"), at("203.0.113.5:443")}},
      {v2(0x21, 0x21, v6_body), ProxyHeader{at("[2001:db8::1]:1"), at("192.0.2.7:65535")}},
      {v2(0x20, 0x00, ""), std::nullopt},
      {v2(0x20, 0x11, v4_body), std::nullopt},
      {v2(0x21, 0x00, "whatever"), std::nullopt},
      {v2(0x21, 0x11, v4_body + "\x01\x00\x02h2"s + "\x04\x00\x00"s),
       ProxyHeader{at("192.0.2.1:54321"), at("203.0.113.5:443")}},
  };
  for (const Row& row : rows) {
    const auto got = read_proxy_header(row.bytes + "GET");
    EXPECT_EQ(got.state, State::done) << testing::PrintToString(row.bytes) << got.problem;
    EXPECT_EQ(got.size, row.bytes.size());
    EXPECT_TRUE(got.header == row.header) << testing::PrintToString(row.bytes);
    for (std::size_t n = 0; n < row.bytes.size(); ++n)
      EXPECT_EQ(read_proxy_header(row.bytes.substr(0, n)).state, State::need_more) << n;
  }
}

TEST(ProxyHeader, RefusesWhatIsNotExactlyAHeader) {
  const std::string rows[] = {
      "GET / HTTP/1.1\r\n",
      "\x16\x03\x01",
      "PROXY\r\n",
      "proxy TCP4 192.0.2.1 203.0.113.5 1 2\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 1\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 1 2 \r\n",
      "PROXY TCP4  192.0.2.1 203.0.113.5 1 2\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 1 65536\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 01 2\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 -1 2\r\n",
      "PROXY TCP4 192.0.2.01 203.0.113.5 1 2\r\n",
      "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
      "PROXY TCP6 192.0.2.1 203.0.113.5 1 2\r\n",
      "PROXY UDP4 192.0.2.1 203.0.113.5 1 2\r\n",
      "PROXY UNKNOWNX\r\n",
      "PROXY TCP4 192.0.2.1 203.0.113.5 1 2\n" + std::string(100, 'x'),
      "PROXY UNKNOWN " + std::string(107, 'x') + "\r\n",
      v2(0x31, 0x11, v4_body),
      v2(0x22, 0x11, v4_body),
      v2(0x21, 0x12, v4_body),
      v2(0x21, 0x31, std::string(216, 'x')),
      v2(0x21, 0x11, v4_body.substr(1)),
      v2(0x21, 0x21, v4_body),
      v2(0x21, 0x11, v4_body + "\x01\x00"),
      v2(0x21, 0x11, v4_body + "\x01\x00\x03h2"s),
      v2(0x21, 0x11, v4_body + "\x03\x00\x04"s + "abcd"),
      v2(0x21, 0x11, v4_body + "\x03\x00\x02"s + "ab"),
      v2(0x21, 0x11, std::string(5000, '\0')),
  };
  for (const std::string& row : rows) {
    const auto got = read_proxy_header(row);
    EXPECT_EQ(got.state, State::failed) << testing::PrintToString(row);
    EXPECT_FALSE(got.problem.empty());
    EXPECT_FALSE(got.header.has_value());
  }
}

TEST(ProxyHeader, WritesWhatItReads) {
  const ProxyHeader headers[] = {
      {at("192.0.2.1:54321"), at("203.0.113.5:443")},
      {at("[2001:db8::1]:1"), at("[2001:db8::2]:2")},
      {at("192.0.2.1:1"), at("[2001:db8::2]:2")},
  };
  for (const ProxyHeader& header : headers) {
    std::string bytes = write_proxy_header(header);
    const auto got = read_proxy_header(bytes);
    EXPECT_EQ(got.state, State::done) << got.problem;
    EXPECT_EQ(got.size, bytes.size());
    EXPECT_TRUE(got.header == header);
    bytes[17] = static_cast<char>(bytes[17] ^ 1);  // an address byte: now the checksum tells
    EXPECT_EQ(read_proxy_header(bytes).problem, "a PROXY header whose checksum does not fit");
  }
  EXPECT_EQ(read_proxy_header(write_local_proxy_header()).state, State::done);
}

// RFC 3720 appendix B.4.
TEST(ProxyHeader, Crc32cVectors) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
}

}  // namespace
}  // namespace oceanid::proxy
