#include "gateway/base/json_text.hpp"

#include <gtest/gtest.h>

namespace oceanid {
namespace {

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonText, EscapesWhatWouldBreakALine) {
  EXPECT_EQ(quoted("a\"b\\c\nd\x01"), "\"a\\\"b\\\\c\\u000ad\\u0001\"");
}

TEST(JsonText, KeepsValidUtf8) {
  EXPECT_EQ(quoted("Grüße €"), "\"Grüße €\"");
}

TEST(JsonText, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(quoted("a\xff"
                   "b"),
            "\"a\\ufffdb\"");
  EXPECT_EQ(quoted("\xc0\xaf"), "\"\\ufffd\\ufffd\"");             // overlong
  EXPECT_EQ(quoted("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");  // a surrogate
  EXPECT_EQ(quoted("\xe2\x82"), "\"\\ufffd\\ufffd\"");             // cut off
}

TEST(JsonText, WritesTimeInUtcWithMilliseconds) {
  EXPECT_EQ(format_utc(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_utc(1'000'000'000'123), "2001-09-09T01:46:40.123Z");
}

}  // namespace
}  // namespace oceanid
