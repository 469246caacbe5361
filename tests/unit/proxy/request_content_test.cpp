#include "proxy/core/request_content.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

RequestContent content_of(const std::string& field) {
  HeadParser parser;
  EXPECT_EQ(parser.feed("PUT http://a.test/ HTTP/1.1\r\nHost: a\r\n" + field + "\r\n"),
            HeadParser::State::done);
  return RequestContent(parser.take_head());
}

TEST(RequestContent, EndsWhereTheNextRequestBegins) {
  for (const auto& [field, bytes, sent] :
       {std::tuple{"", "", ""}, std::tuple{"Content-Length: 0\r\n", "", ""},
        std::tuple{"Content-Length: 5\r\n", "hello", "hello"},
        std::tuple{"Transfer-Encoding: chunked\r\n", "5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
                   "5\r\nhello\r\n0\r\nA: b\r\n\r\n"}}) {
    RequestContent whole = content_of(field);
    std::string out;
    const std::string given(bytes);
    EXPECT_EQ(whole.take(given + "GET ", out), given.size()) << field;
    EXPECT_EQ(out, sent);
    EXPECT_TRUE(whole.whole()) << field;
    EXPECT_EQ(whole.take("GET ", out), 0U);

    RequestContent bytewise = content_of(field);
    for (const char c : given) {
      EXPECT_FALSE(bytewise.whole());
      EXPECT_EQ(bytewise.take(std::string_view(&c, 1), out), 1U);
    }
    EXPECT_TRUE(bytewise.whole()) << field;
  }
}

TEST(RequestContent, TellsWhatItKnowsOfTheRest) {
  RequestContent content = content_of("Content-Length: 70000\r\n");
  std::string out;
  content.take("12345", out);
  EXPECT_EQ(content.known_rest(), 69'995U);
  EXPECT_FALSE(content.whole());
}

TEST(RequestContent, ABrokenChunkIsNotWhole) {
  RequestContent content = content_of("Transfer-Encoding: chunked\r\n");
  std::string out;
  content.take("1\r\nab\r\n0\r\n\r\n", out);
  EXPECT_TRUE(content.broken());
  EXPECT_FALSE(content.whole());
  EXPECT_STRNE(content.fault(), "");
}

}  // namespace
}  // namespace oceanid::proxy
