#include "proxy/core/client_hello.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using State = ClientHelloReader::State;
using namespace std::string_literals;

std::string number(std::size_t value, std::size_t width) {
  std::string out;
  while (width-- > 0)
    out += static_cast<char>(value >> (8 * width) & 0xff);
  return out;
}
std::string vector(std::size_t width, const std::string& body) {
  return number(body.size(), width) + body;
}
std::string extension(std::size_t type, const std::string& body) {
  return number(type, 2) + vector(2, body);
}
std::string sni(const std::string& name, char type = 0) {
  return extension(0, vector(2, type + vector(2, name)));
}
std::string hello(const std::string& extensions) {
  const std::string body = "\x03\x03"s + std::string(32, 'r') + vector(1, std::string(32, 's')) +
                           vector(2, "\x13\x01\x13\x02"s) + vector(1, "\0"s) +
                           (extensions.empty() ? "" : vector(2, extensions));
  return "\x01"s + vector(3, body);
}
std::string records(const std::string& message, std::size_t each) {
  std::string out;
  for (std::size_t i = 0; i < message.size(); i += each)
    out += "\x16\x03\x01"s + vector(2, message.substr(i, each));
  return out;
}

ClientHelloReader read(const std::string& bytes, std::size_t step) {
  ClientHelloReader out;
  for (std::size_t i = 0; i < bytes.size(); i += step)
    out.feed(std::string_view(bytes).substr(i, step));
  return out;
}

TEST(ClientHello, FindsTheNameHoweverItIsCut) {
  const std::string padding = extension(21, std::string(1500, '\0'));  // like a large key share
  const std::string message =
      hello(extension(43, "\x02\x03\x04"s) + padding + sni("WWW.Example.Test"));
  for (const std::size_t record : {1U, 3U, 4U, 5U, 517U, 16384U})
    for (const std::size_t step : {1U, 2U, 7U, 1460U, 65536U}) {
      const auto got = read(records(message, record) + "behind it", step);
      EXPECT_EQ(got.state(), State::done) << record << ' ' << step;
      EXPECT_EQ(got.name(), "www.example.test") << record << ' ' << step;
    }
}

TEST(ClientHello, HasNoNameWithoutOne) {
  for (const auto& extensions : {""s, extension(43, "\x02\x03\x04"s), sni("192.0.2.1"), sni("a b"),
                                 sni("x", 7), sni("2001:db8::1")}) {
    const auto got = read(records(hello(extensions), 16384), 65536);
    EXPECT_EQ(got.state(), State::done) << testing::PrintToString(extensions);
    EXPECT_EQ(got.name(), "");
  }
}

TEST(ClientHello, TellsOtherProtocolsAtTheFirstWrongByte) {
  EXPECT_EQ(read("GET / HTTP/1.1\r\n", 1).state(), State::not_tls);
  EXPECT_EQ(read("\x16\x02", 1).state(), State::not_tls);
  EXPECT_EQ(read("\x15\x03\x01\x00\x02", 1).state(), State::not_tls);
  EXPECT_EQ(read("\x16\x03\x01\x00\x00"s, 1).state(), State::not_tls);
  EXPECT_EQ(read("\x16\x03\x01\x40\x01"s, 1).state(), State::not_tls);
  EXPECT_EQ(read("\x16\x03"s, 1).state(), State::need_more);
}

TEST(ClientHello, MalformedOnesAreRefused) {
  const std::string good = hello(sni("a.test"));
  std::string server_hello = good;
  server_hello[0] = 2;
  std::string long_session = good;
  long_session[38] = 33;
  for (const auto& message :
       {server_hello, long_session, hello(sni("a.test") + sni("b.test")), hello(extension(0, "")),
        hello(extension(0, "\x00\x00"s)), hello(extension(0, "\x00\x09\x00\x00\x06"s + "a.tes")),
        hello(extension(0, vector(2, "\0\0\0"s))), hello(sni("a.test") + "\x00"s),
        good.substr(0, 1) + number(good.size() - 3, 3) + good.substr(4) + "x", "\x01\x00\x00\x00"s,
        "\x01\x00\x40\x00"s + std::string(16384, 'x')}) {
    EXPECT_EQ(read(records(message, 16384), 65536).state(), State::malformed)
        << testing::PrintToString(message.substr(0, 100));
  }
  EXPECT_EQ(read(records(good.substr(0, 20), 16384) + "\x17\x03\x03\x00\x01x"s, 1).state(),
            State::malformed);
}

TEST(ClientHello, WhatNeverEndsIsGivenUp) {
  ClientHelloReader reader;
  const std::string slow = records("\x01\x00\x3f\x00"s + std::string(16000, 'x'), 1);
  EXPECT_EQ(reader.feed(slow), State::malformed);
}

}  // namespace
}  // namespace oceanid::proxy
