// Heads that are in order: what is read from them, where they end, and that no split of the bytes
// matters.
#include "proxy/core/request_head.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using State = HeadParser::State;

TEST(RequestHead, ReadsWhatCurlSends) {
  HeadParser parser;
  const std::string text =
      "CONNECT db.example.net:5432 HTTP/1.1\r\nHost: db.example.net:5432\r\n"
      "User-Agent: curl/7.88.1\r\nProxy-Connection: Keep-Alive\r\n\r\n";
  ASSERT_EQ(parser.feed(text), State::done);
  EXPECT_EQ(parser.consumed_of_last_feed(), text.size());
  EXPECT_EQ(parser.error(), HeadError::none);
  const RequestHead& head = parser.head();
  EXPECT_EQ(head.method, "CONNECT");
  EXPECT_EQ(head.target, "db.example.net:5432");
  EXPECT_EQ(head.version, HttpVersion::http11);
  const std::vector<Field> expected = {{"Host", "db.example.net:5432"},
                                       {"User-Agent", "curl/7.88.1"},
                                       {"Proxy-Connection", "Keep-Alive"}};
  EXPECT_EQ(head.fields, expected);
}

TEST(RequestHead, FindsFieldsWithoutRegardToCase) {
  HeadParser parser;
  ASSERT_EQ(parser.feed("CONNECT a:1 HTTP/1.1\r\nhOsT: a\r\nX-A: 1\r\nx-a: 2\r\n\r\n"),
            State::done);
  ASSERT_NE(parser.head().find("host"), nullptr);
  EXPECT_EQ(*parser.head().find("host"), "a");
  EXPECT_EQ(*parser.head().find("x-a"), "1");  // the first of several
  EXPECT_EQ(parser.head().find("x-b"), nullptr);
}

TEST(RequestHead, LeavesEarlyDataToItsReader) {
  HeadParser parser;
  const std::string head = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
  ASSERT_EQ(parser.feed(head + "\x16\x03\x01 early"), State::done);
  EXPECT_EQ(parser.consumed_of_last_feed(), head.size());
  EXPECT_EQ(parser.feed("more"), State::done);  // the parser rests
  EXPECT_EQ(parser.consumed_of_last_feed(), 0U);
}

TEST(RequestHead, CountsOnlyTheLastFeedAsConsumed) {
  HeadParser parser;
  ASSERT_EQ(parser.feed("CONNECT a:1 HTTP/1.1\r\nHost: a"), State::need_more);
  ASSERT_EQ(parser.feed("\r\n\r\nxyz"), State::done);
  EXPECT_EQ(parser.consumed_of_last_feed(), 4U);
}

TEST(RequestHead, KnowsWhetherAnythingCame) {
  HeadParser parser;
  EXPECT_FALSE(parser.started());
  EXPECT_EQ(parser.feed(""), State::need_more);
  EXPECT_FALSE(parser.started());
  EXPECT_EQ(parser.feed("C"), State::need_more);
  EXPECT_TRUE(parser.started());
}

struct Accepted {
  const char* name;
  std::string bytes;
};

std::vector<Accepted> accepted() {
  const std::string host = "Host: a\r\n";
  return {
      {"one leading empty line", "\r\nCONNECT a:1 HTTP/1.1\r\n" + host + "\r\n"},
      {"HTTP/1.0 without Host", "CONNECT a:1 HTTP/1.0\r\n\r\n"},
      {"HTTP/1.0 with Host", "CONNECT a:1 HTTP/1.0\r\n" + host + "\r\n"},
      {"empty Host", "CONNECT a:1 HTTP/1.1\r\nHost:\r\n\r\n"},
      {"no white space after the colon", "CONNECT a:1 HTTP/1.1\r\nHost:a\r\n\r\n"},
      {"much white space around a value",
       "CONNECT a:1 HTTP/1.1\r\n" + host + "X: \t  b c\t \r\n\r\n"},
      {"empty value", "CONNECT a:1 HTTP/1.1\r\n" + host + "X:\r\nY: \t\r\n\r\n"},
      {"obs-text in a value", "CONNECT a:1 HTTP/1.1\r\n" + host + "X: \xc3\xa9\xff\r\n\r\n"},
      {"colons in a value", "CONNECT a:1 HTTP/1.1\r\n" + host + "X: a:b::c\r\n\r\n"},
      {"every token byte in a name",
       "CONNECT a:1 HTTP/1.1\r\n" + host + "!#$%&'*+-.^_`|~09azAZ: v\r\n\r\n"},
      {"a token of an unknown method", "x-my.method!#$ a:1 HTTP/1.1\r\n" + host + "\r\n"},
      {"a lower-case method is another method", "connect a:1 HTTP/1.1\r\n" + host + "\r\n"},
      {"the longest method", std::string(32, 'M') + " a:1 HTTP/1.1\r\n" + host + "\r\n"},
      {"absolute-form", "GET http://a/b?c#d HTTP/1.1\r\n" + host + "\r\n"},
      {"asterisk-form", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n"},
      {"every visible byte in a target",
       "GET /!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ HTTP/1.1\r\n" + host + "\r\n"},
      {"Host with a port", "GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n"},
      {"Host with an IPv6 literal", "GET http://a/ HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"},
      {"Content-Length", "POST http://a/ HTTP/1.1\r\n" + host + "Content-Length: 10\r\n\r\n"},
      {"Content-Length with leading zeros",
       "POST http://a/ HTTP/1.1\r\n" + host + "Content-Length: 0010\r\n\r\n"},
      {"the largest Content-Length",
       "POST http://a/ HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775807\r\n\r\n"},
      {"CONNECT that announces no content",
       "CONNECT a:1 HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n"},
      {"chunked", "POST http://a/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n"},
      {"Chunked in another case",
       "POST http://a/ HTTP/1.1\r\n" + host + "transfer-encoding: \tCHUNKED \r\n\r\n"},
  };
}

TEST(RequestHead, AcceptsWhatIsInOrder) {
  for (const Accepted& c : accepted()) {
    HeadParser parser;
    EXPECT_EQ(parser.feed(c.bytes), State::done) << c.name << ": " << describe(parser.error());
    EXPECT_EQ(parser.consumed_of_last_feed(), c.bytes.size()) << c.name;
  }
}

TEST(RequestHead, ReadsTheSameHeadForEverySplit) {
  for (const Accepted& c : accepted()) {
    HeadParser whole;
    ASSERT_EQ(whole.feed(c.bytes), State::done) << c.name;
    for (std::size_t cut = 0; cut <= c.bytes.size(); ++cut) {
      HeadParser parts;
      const std::string_view bytes = c.bytes;
      parts.feed(bytes.substr(0, cut));
      ASSERT_EQ(parts.feed(bytes.substr(cut)), State::done) << c.name << " cut at " << cut;
      ASSERT_EQ(parts.head(), whole.head()) << c.name << " cut at " << cut;
    }
    HeadParser single;
    for (const char byte : c.bytes)
      single.feed(std::string_view(&byte, 1));
    EXPECT_EQ(single.state(), State::done) << c.name;
    EXPECT_EQ(single.head(), whole.head()) << c.name;
  }
}

TEST(RequestHead, TrimsWhiteSpaceAroundValuesOnly) {
  HeadParser parser;
  ASSERT_EQ(parser.feed("CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX: \t b \t c \t\r\n\r\n"), State::done);
  EXPECT_EQ(*parser.head().find("x"), "b \t c");
}

TEST(RequestHead, AcceptsAHeadOfExactlyTheLimitAndRefusesOneByteMore) {
  const std::string text = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
  HeadParser fits({.bytes = text.size(), .fields = 1});
  EXPECT_EQ(fits.feed(text + "early data does not count"), State::done);
  EXPECT_EQ(fits.consumed_of_last_feed(), text.size());

  HeadParser too_small({.bytes = text.size() - 1, .fields = 1});
  EXPECT_EQ(too_small.feed(text), State::failed);
  EXPECT_EQ(too_small.error(), HeadError::head_too_large);
  EXPECT_EQ(too_small.consumed_of_last_feed(), text.size() - 1);
}

TEST(RequestHead, HoldsNoMoreThanTheLimit) {
  HeadParser parser({.bytes = 1000, .fields = 100});
  ASSERT_EQ(parser.feed("CONNECT a:1 HTTP/1.1\r\nX: "), State::need_more);
  const std::string flood(100'000, 'x');
  EXPECT_EQ(parser.feed(flood), State::failed);
  EXPECT_EQ(parser.error(), HeadError::head_too_large);
  EXPECT_LT(parser.head().fields.back().value.size(), 1000U);
}

TEST(RequestHead, NamesTheTargetWhenItAloneFillsTheLimit) {
  HeadParser parser({.bytes = 100, .fields = 100});
  EXPECT_EQ(parser.feed("CONNECT " + std::string(200, 'a')), State::failed);
  EXPECT_EQ(parser.error(), HeadError::target_too_long);
  EXPECT_EQ(status_of(parser.error()), 414);
}

TEST(RequestHead, AcceptsTheMostFieldsAndRefusesOneMore) {
  const auto head_with = [](int fields) {
    std::string text = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n";
    for (int i = 1; i < fields; ++i)
      text += "X: y\r\n";
    return text + "\r\n";
  };
  HeadParser most;
  EXPECT_EQ(most.feed(head_with(100)), State::done);
  EXPECT_EQ(most.head().fields.size(), 100U);
  HeadParser over;
  EXPECT_EQ(over.feed(head_with(101)), State::failed);
  EXPECT_EQ(over.error(), HeadError::too_many_fields);
  EXPECT_EQ(status_of(over.error()), 431);
}

}  // namespace
}  // namespace oceanid::proxy
