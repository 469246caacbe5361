#include "proxy/core/response_head.hpp"

#include "proxy/core/message_framing.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

ResponseParser read(std::string_view bytes, std::size_t step, HeadLimits limits = {}) {
  ResponseParser parser(limits);
  while (!bytes.empty() && parser.feed(bytes.substr(0, step)) == ResponseParser::State::need_more)
    bytes.remove_prefix(std::min(step, bytes.size()));
  return parser;
}

ResponseHead accepted(std::string_view bytes) {
  ResponseHead whole = read(bytes, bytes.size()).take_head();
  for (const std::size_t step : {std::size_t{1}, std::size_t{2}, std::size_t{5}})
    EXPECT_EQ(read(bytes, step).take_head(), whole);
  return whole;
}

TEST(ResponseHead, ReadsStatusReasonAndFields) {
  const auto head = accepted("HTTP/1.1 404 Not Found\r\nServer: a\r\nX:  b c \r\n\r\n");
  EXPECT_EQ(head.status, 404);
  EXPECT_EQ(head.reason, "Not Found");
  EXPECT_EQ(head.fields, (std::vector<Field>{{"Server", "a"}, {"X", "b c"}}));
  EXPECT_EQ(accepted("HTTP/1.0 200\r\n\r\n").version, HttpVersion::http10);
  EXPECT_EQ(accepted("HTTP/1.1 200 \r\n\r\n").reason, "");
}

TEST(ResponseHead, LeavesTheContentAlone) {
  ResponseParser parser;
  EXPECT_EQ(parser.feed("HTTP/1.1 200 OK\r\n\r\nbody"), ResponseParser::State::done);
  EXPECT_EQ(parser.consumed_of_last_feed(), 19U);
  ResponseParser split;
  EXPECT_EQ(split.feed("HTTP/1.1 200 OK\r\n\r"), ResponseParser::State::need_more);
  EXPECT_EQ(split.feed("\nbody"), ResponseParser::State::done);
  EXPECT_EQ(split.consumed_of_last_feed(), 1U);
}

TEST(ResponseHead, RefusesMalformedOnes) {
  for (const std::string bytes :
       {"SSH-2.0-OpenSSH\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n"})
    for (const std::size_t step : {std::size_t{1}, bytes.size()}) {
      auto parser = read(bytes, step);
      EXPECT_EQ(parser.feed(""), ResponseParser::State::failed) << bytes;
      EXPECT_STRNE(parser.fault(), "") << bytes;
    }
}

TEST(ResponseHead, IsBounded) {
  const std::string long_field = "HTTP/1.1 200 OK\r\nA: " + std::string(5000, 'x') + "\r\n\r\n";
  EXPECT_EQ(read(long_field, 100, {.bytes = 1000, .fields = 10}).feed(""),
            ResponseParser::State::failed);
  EXPECT_EQ(
      read("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n", 9, {.bytes = 1000, .fields = 1}).feed(""),
      ResponseParser::State::failed);
}

Result<Framing> framing(std::string_view fields, std::string_view method = "GET", int status = 200,
                        std::string_view version = "1.1") {
  const std::string bytes = "HTTP/" + std::string(version) + " " + std::to_string(status) +
                            " X\r\n" + std::string(fields) + "\r\n";
  return framing_of(accepted(bytes), method);
}

TEST(MessageFraming, OfResponses) {
  EXPECT_EQ(framing("Content-Length: 5\r\n").value(), (Framing{Content::length, 5}));
  EXPECT_EQ(framing("Content-Length: 0\r\n").value(), Framing{});
  EXPECT_EQ(framing("Transfer-Encoding: Chunked\r\n").value(), (Framing{Content::chunked, 0}));
  EXPECT_EQ(framing("").value(), (Framing{Content::until_close, 0}));
  EXPECT_EQ(framing("Content-Length: 5\r\n", "HEAD").value(), Framing{});
  EXPECT_EQ(framing("Content-Length: 5\r\n", "GET", 304).value(), Framing{});
  EXPECT_EQ(framing("", "GET", 204).value(), Framing{});
  EXPECT_EQ(framing("", "GET", 101).value(), Framing{});
}

TEST(MessageFraming, RefusesResponsesThatSayTwoThings) {
  for (const auto* fields :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n", "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n", "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"})
    EXPECT_FALSE(framing(fields)) << fields;
  EXPECT_FALSE(framing("Transfer-Encoding: chunked\r\n", "GET", 200, "1.0"));
}

TEST(MessageFraming, Persistence) {
  EXPECT_TRUE(keeps_alive(accepted("HTTP/1.1 200 OK\r\n\r\n")));
  EXPECT_FALSE(keeps_alive(accepted("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\n\r\n")));
  EXPECT_FALSE(keeps_alive(accepted("HTTP/1.0 200 OK\r\n\r\n")));
  EXPECT_TRUE(keeps_alive(accepted("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n")));
}

TEST(ResponseFraming, TheAnnouncedIdleTimeIsRead) {
  const auto idle = [](const std::string& value) {
    return announced_idle_time(accepted("HTTP/1.1 200 OK\r\nKeep-Alive: " + value + "\r\n\r\n"));
  };
  EXPECT_EQ(idle("timeout=5"), std::chrono::seconds(5));
  EXPECT_EQ(idle("max=99, Timeout=15"), std::chrono::seconds(15));
  EXPECT_EQ(idle("timeout=0"), std::chrono::seconds(0));
  EXPECT_EQ(idle("timeout=9223372036854775807"), std::chrono::hours(24));
  EXPECT_EQ(idle("timeout=x"), std::nullopt);
  EXPECT_EQ(idle("max=5"), std::nullopt);
  EXPECT_EQ(announced_idle_time(accepted("HTTP/1.1 200 OK\r\n\r\n")), std::nullopt);
}

}  // namespace
}  // namespace oceanid::proxy
