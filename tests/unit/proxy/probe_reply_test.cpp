#include "proxy/core/probe_reply.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

TEST(ProbeReply, ReadsStatusAndAddress) {
  const auto reply =
      parse_probe_reply("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n 203.0.113.10\n");
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200U);
  EXPECT_EQ(reply->address, IpAddress::parse("203.0.113.10").value());
  EXPECT_EQ(parse_probe_reply("HTTP/1.1 204 No Content\r\n\r\n"), (ProbeReply{204, std::nullopt}));
  EXPECT_EQ(parse_probe_reply("HTTP/1.1 200 OK\r\n\r\n<html>")->address, std::nullopt);
  EXPECT_EQ(parse_probe_reply("HTTP/1.1 200 OK\r\n\r\n\"2001:db8::1\"")->address,
            IpAddress::parse("2001:db8::1").value());
}

TEST(ProbeReply, RefusesWhatIsNoAnswer) {
  EXPECT_FALSE(parse_probe_reply(""));
  EXPECT_FALSE(parse_probe_reply("HTTP/1.1 200 OK\r\n"));
  EXPECT_FALSE(parse_probe_reply("SSH-2.0-OpenSSH_9.2\r\n"));
  EXPECT_FALSE(parse_probe_reply(std::string(longest_probe_reply, 'x')));
}

TEST(ProbeUrl, IsTakenApart) {
  EXPECT_EQ(parse_probe_url("https://ip.example.net"),
            (ProbeUrl{true, {"ip.example.net", 443}, "/"}));
  EXPECT_EQ(parse_probe_url("http://127.0.0.1:2000/ready?x=1#y"),
            (ProbeUrl{false, {"127.0.0.1", 2000}, "/ready?x=1"}));
  EXPECT_EQ(parse_probe_url("http://u:p@a.example?q"), (ProbeUrl{false, {"a.example", 80}, "/?q"}));
  EXPECT_EQ(parse_probe_url("ftp://a.example/"), std::nullopt);
  EXPECT_EQ(parse_probe_url("https:///path"), std::nullopt);
  EXPECT_EQ(probe_request(*parse_probe_url("http://a.example:8080/x")).substr(0, 41),
            "GET /x HTTP/1.0\r\nHost: a.example:8080\r\nUs");
}

}  // namespace
}  // namespace oceanid::proxy
