#include "proxy/core/first_bytes.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

std::string name_in(const std::string& bytes, std::size_t step = 65536) {
  FirstBytes first({.bytes = 65536, .fields = 100});
  for (std::size_t i = 0; i < bytes.size(); i += step)
    if (!first.feed(std::string_view(bytes).substr(i, step))) break;
  return first.name();
}

TEST(FirstBytes, HttpNamesItsHost) {
  for (const std::size_t step : {1U, 5U, 65536U}) {
    EXPECT_EQ(name_in("GET / HTTP/1.1\r\nHost: WWW.Example.Test:80\r\n\r\nbody", step),
              "www.example.test");
    EXPECT_EQ(name_in("GET / HTTP/1.1\r\nHost: www.example.test\r\n\r\n", step),
              "www.example.test");
  }
  for (const auto* head :
       {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: unfinished.test\r\n", "GET /\nHost: bare.test\n\n"})
    EXPECT_EQ(name_in(head), "") << head;
}

TEST(FirstBytes, OtherProtocolsAreNotWaitedFor) {
  for (const auto& bytes : {std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8), std::string("*1\r\n"),
                            std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string("\x15\x03\x01")}) {
    FirstBytes first({.bytes = 65536, .fields = 100});
    EXPECT_FALSE(first.feed(bytes)) << bytes;
    EXPECT_EQ(first.name(), "");
  }
  FirstBytes tls({.bytes = 65536, .fields = 100});
  EXPECT_TRUE(tls.feed("\x16\x03\x01"));
  EXPECT_TRUE(tls.is_tls());
}

}  // namespace
}  // namespace oceanid::proxy
