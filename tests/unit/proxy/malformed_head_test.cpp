// Heads that break the rules, one row each: the fault that is named, and where reading stopped.
#include "proxy/core/request_head.hpp"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using enum HeadError;
using State = HeadParser::State;

struct Malformed {
  std::string bytes;
  HeadError error;
};

std::string bytes_of(std::initializer_list<int> values) {
  std::string out;
  for (const int v : values)
    out.push_back(static_cast<char>(v));
  return out;
}

const std::string nul = bytes_of({0});

std::vector<Malformed> request_lines() {
  const std::string rest = "\r\nHost: a\r\n\r\n";
  return {
      {bytes_of({0x16, 0x03, 0x01, 0x02, 0x00}), tls_handshake},
      {bytes_of({0x05, 0x01, 0x00}), socks_handshake},
      {bytes_of({0x04, 0x01, 0x01, 0xbb}), socks_handshake},
      {"\r\n\r\nCONNECT a:1 HTTP/1.1" + rest, leading_blank_lines},
      {"\nCONNECT a:1 HTTP/1.1" + rest, bare_lf},
      {"\rCONNECT a:1 HTTP/1.1" + rest, bare_cr},
      {" CONNECT a:1 HTTP/1.1" + rest, empty_method},
      {"\tCONNECT a:1 HTTP/1.1" + rest, invalid_method},
      {"CONN(ECT a:1 HTTP/1.1" + rest, invalid_method},
      {"CONNECT\ta:1 HTTP/1.1" + rest, invalid_method},
      {"CONNECT: a:1 HTTP/1.1" + rest, invalid_method},
      {"\"CONNECT\" a:1 HTTP/1.1" + rest, invalid_method},
      {"CON" + nul + "NECT a:1 HTTP/1.1" + rest, control_byte},
      {nul + "CONNECT a:1 HTTP/1.1" + rest, control_byte},
      {"\x7f"
       "CONNECT a:1 HTTP/1.1" +
           rest,
       control_byte},
      {"C\xc3\x96NNECT a:1 HTTP/1.1" + rest, non_ascii_request_line},
      {"\xef\xbb\xbf"
       "CONNECT a:1 HTTP/1.1" +
           rest,
       non_ascii_request_line},
      {std::string(33, 'M') + " a:1 HTTP/1.1" + rest, method_too_long},
      {"CONNECT" + rest, missing_version},
      {"CONNECT\nHost: a\r\n\r\n", bare_lf},
      {"CONNECT  a:1 HTTP/1.1" + rest, extra_space},
      {"CONNECT a:1  HTTP/1.1" + rest, extra_space},
      {"CONNECT a:1 HTTP/1.1 " + rest, extra_space},
      {"CONNECT a:1 b HTTP/1.1" + rest, extra_space},
      {"CONNECT a:1" + rest, missing_version},
      {"CONNECT a:1 " + rest, missing_version},
      {"CONNECT " + rest, missing_version},
      {"CONNECT a:1\tHTTP/1.1" + rest, control_byte},
      {"CONNECT a" + nul + ":1 HTTP/1.1" + rest, control_byte},
      {"CONNECT a\x1b:1 HTTP/1.1" + rest, control_byte},
      {"CONNECT a\x7f:1 HTTP/1.1" + rest, control_byte},
      {"CONNECT b\xc3\xbc"
       "cher.example:1 HTTP/1.1" +
           rest,
       non_ascii_request_line},
      {"CONNECT a:1\nHTTP/1.1" + rest, bare_lf},
      {"CONNECT a:1 HTTP/1.1\nHost: a\r\n\r\n", bare_lf},
      {"CONNECT a:1 HTTP/1.1\n\n", bare_lf},
      {"CONNECT a:1 HTTP/1.1\r\r\nHost: a\r\n\r\n", bare_cr},
      {"CONNECT a:1 HTTP/1.1\rHost: a\r\n\r\n", bare_cr},
      {"CONNECT a:1 http/1.1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/1." + rest, malformed_version},
      {"CONNECT a:1 HTTP/1.10" + rest, malformed_version},
      {"CONNECT a:1 HTTP/01.1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/+1.1" + rest, malformed_version},
      {"CONNECT a:1 HTTP 1.1" + rest, extra_space},
      {"CONNECT a:1 HTTP-1.1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/1,1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/x.1" + rest, malformed_version},
      {"CONNECT a:1 HTTP/1.1\t" + rest, malformed_version},
      {"CONNECT a:1 XTTP/1.1" + rest, malformed_version},
      {"CONNECT a:1 RTSP/1.0" + rest, malformed_version},
      {"CONNECT a:1 HTTP/0.9" + rest, unsupported_version},
      {"CONNECT a:1 HTTP/1.2" + rest, unsupported_version},
      {"CONNECT a:1 HTTP/1.9" + rest, unsupported_version},
      {"CONNECT a:1 HTTP/2.0" + rest, unsupported_version},
      {"CONNECT a:1 HTTP/3.1" + rest, unsupported_version},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", unsupported_version},
  };
}

std::vector<Malformed> fields() {
  const std::string line = "CONNECT a:1 HTTP/1.1\r\n";
  const std::string start = line + "Host: a\r\n";
  return {
      {line + " Host: a\r\n\r\n", space_before_first_field},
      {line + "\tHost: a\r\n\r\n", space_before_first_field},
      {start + "X: a\r\n b\r\n\r\n", folded_field},
      {start + "X: a\r\n\tb\r\n\r\n", folded_field},
      {start + " \r\n\r\n", folded_field},
      {line + "Host\r\n : a\r\n\r\n", missing_colon},
      {start + ": v\r\n\r\n", empty_field_name},
      {start + ":\r\n\r\n", empty_field_name},
      {line + "Host : a\r\n\r\n", space_before_colon},
      {line + "Host\t: a\r\n\r\n", space_before_colon},
      {start + "Transfer-Encoding : chunked\r\n\r\n", space_before_colon},
      {start + "X Y: a\r\n\r\n", space_before_colon},
      {start + "X(: a\r\n\r\n", invalid_field_name},
      {start + "(X: a\r\n\r\n", invalid_field_name},
      {start + "X/Y: a\r\n\r\n", invalid_field_name},
      {start + "X@: a\r\n\r\n", invalid_field_name},
      {start + "X\xc3\xa9: a\r\n\r\n", invalid_field_name},
      {start + "\xff: a\r\n\r\n", invalid_field_name},
      {start + "X" + nul + ": a\r\n\r\n", control_byte},
      {start + nul + "X: a\r\n\r\n", control_byte},
      {start + "X\x7f: a\r\n\r\n", control_byte},
      {start + "X\r\n\r\n", missing_colon},
      {start + "X\n: a\r\n\r\n", bare_lf},
      {start + "X: a" + nul + "b\r\n\r\n", control_byte},
      {start + "X: " + nul + "\r\n\r\n", control_byte},
      {start + "X: a\x01\r\n\r\n", control_byte},
      {start + "X: a\x0b"
               "b\r\n\r\n",
       control_byte},
      {start + "X: a\x0c"
               "b\r\n\r\n",
       control_byte},
      {start + "X: a\x7f\r\n\r\n", control_byte},
      {start + "X: a\nY: b\r\n\r\n", bare_lf},
      {start + "X:\nY: b\r\n\r\n", bare_lf},
      {start + "X: a\rY: b\r\n\r\n", bare_cr},
      {start + "X: a\r\rY: b\r\n\r\n", bare_cr},
      {start + "X: a\r\r\n\r\n", bare_cr},
      {start + "\n", bare_lf},
      {start + "\r\r\n", bare_cr},
      {start + "\rX", bare_cr},
      {start + "X: a\n\n", bare_lf},
  };
}

std::vector<Malformed> combinations() {
  const std::string post = "POST http://a/ HTTP/1.1\r\nHost: a\r\n";
  const std::string connect = "CONNECT a:1 HTTP/1.1\r\n";
  const auto encoded = [&](const std::string& value) {
    return post + "Transfer-Encoding: " + value + "\r\n\r\n";
  };
  const auto length = [&](const std::string& value) {
    return post + "Content-Length: " + value + "\r\n\r\n";
  };
  return {
      {connect + "\r\n", missing_host},
      {connect + "Hosts: a\r\n\r\n", missing_host},
      {connect + "Host: a\r\nHost: a\r\n\r\n", several_hosts},
      {connect + "Host: a\r\nX: y\r\nhOST: b\r\n\r\n", several_hosts},
      {"CONNECT a:1 HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", several_hosts},
      {connect + "Host: a, b\r\n\r\n", invalid_host},
      {connect + "Host: a b\r\n\r\n", invalid_host},
      {connect + "Host: user@a\r\n\r\n", invalid_host},
      {connect + "Host: http://a\r\n\r\n", invalid_host},
      {connect + "Host: a/b\r\n\r\n", invalid_host},
      {connect + "Host: a?b\r\n\r\n", invalid_host},
      {connect + "Host: a#b\r\n\r\n", invalid_host},
      {connect + "Host: a%20b\r\n\r\n", invalid_host},
      {connect + "Host: \xc3\xa9\r\n\r\n", invalid_host},
      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
       length_and_transfer_encoding},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
       length_and_transfer_encoding},
      {post + "Content-Length: 0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
       length_and_transfer_encoding},
      {post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", several_content_lengths},
      {post + "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", several_content_lengths},
      {length("5, 5"), invalid_content_length},
      {length("5, 6"), invalid_content_length},
      {length("-1"), invalid_content_length},
      {length("+5"), invalid_content_length},
      {length("0x10"), invalid_content_length},
      {length("5a"), invalid_content_length},
      {length("5 5"), invalid_content_length},
      {length("5.0"), invalid_content_length},
      {length(""), invalid_content_length},
      {length("9223372036854775808"), invalid_content_length},
      {length("18446744073709551616"), invalid_content_length},
      {length("99999999999999999999999999"), invalid_content_length},
      {"POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
       transfer_encoding_in_http10},
      {encoded("identity"), transfer_encoding_not_chunked},
      {encoded("gzip"), transfer_encoding_not_chunked},
      {encoded("chunked, gzip"), transfer_encoding_not_chunked},
      {encoded("chunked, chunked"), transfer_encoding_not_chunked},
      {encoded("xchunked"), transfer_encoding_not_chunked},
      {encoded("chunked;a=b"), transfer_encoding_not_chunked},
      {encoded("\"chunked\""), transfer_encoding_not_chunked},
      {encoded("chunked,"), transfer_encoding_not_chunked},
      {encoded(", chunked"), transfer_encoding_not_chunked},
      {encoded("chun ked"), transfer_encoding_not_chunked},
      {encoded(""), transfer_encoding_not_chunked},
      {encoded("chunked\r\nTransfer-Encoding: identity"), transfer_encoding_not_chunked},
      {encoded("chunked\r\nTransfer-Encoding: chunked"), transfer_encoding_not_chunked},
      {encoded("gzip, chunked"), unsupported_transfer_coding},
      {encoded("gzip\r\nTransfer-Encoding: chunked"), unsupported_transfer_coding},
      {connect + "Host: a\r\nContent-Length: 5\r\n\r\nhello", content_in_connect},
      {connect + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n", content_in_connect},
  };
}

std::vector<Malformed> all_malformed() {
  std::vector<Malformed> out = request_lines();
  for (auto& c : fields())
    out.push_back(std::move(c));
  for (auto& c : combinations())
    out.push_back(std::move(c));
  return out;
}

TEST(MalformedHead, IsRefusedForItsOwnReason) {
  for (const Malformed& c : all_malformed()) {
    HeadParser parser;
    EXPECT_EQ(parser.feed(c.bytes), State::failed) << testing::PrintToString(c.bytes);
    EXPECT_EQ(to_string(parser.error()), to_string(c.error)) << testing::PrintToString(c.bytes);
    EXPECT_EQ(parser.feed("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), State::failed);
    EXPECT_EQ(parser.consumed_of_last_feed(), 0U);
  }
}

TEST(MalformedHead, IsRefusedAtTheSameByteForEverySplit) {
  for (const Malformed& c : all_malformed()) {
    HeadParser whole;
    whole.feed(c.bytes);
    const std::size_t stop = whole.consumed_of_last_feed();
    HeadParser single;
    std::size_t consumed = 0;
    for (const char byte : c.bytes) {
      single.feed(std::string_view(&byte, 1));
      consumed += single.consumed_of_last_feed();
    }
    EXPECT_EQ(to_string(single.error()), to_string(whole.error()))
        << testing::PrintToString(c.bytes);
    EXPECT_EQ(consumed, stop) << testing::PrintToString(c.bytes);
  }
}

// Every error but the two that depend on limits (and `none`) has a row above.
TEST(MalformedHead, TableCoversEveryError) {
  std::set<HeadError> seen = {none, target_too_long, head_too_large, too_many_fields};
  for (const Malformed& c : all_malformed())
    seen.insert(c.error);
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(last_head_error) + 1);
  EXPECT_GE(all_malformed().size(), 140U);
}

TEST(MalformedHead, AStopIsBeforeTheOffendingByte) {
  HeadParser parser;
  parser.feed("CONNECT a:1 HTTP/1.1\r\nHost : a\r\n\r\n");
  EXPECT_EQ(parser.consumed_of_last_feed(),
            std::string_view("CONNECT a:1 HTTP/1.1\r\nHost").size());
}

TEST(MalformedHead, ErrorsHaveTheirStatusAndSentence) {
  EXPECT_EQ(status_of(bare_cr), 400);
  EXPECT_EQ(status_of(unsupported_version), 505);
  EXPECT_EQ(status_of(method_too_long), 501);
  EXPECT_EQ(status_of(unsupported_transfer_coding), 501);
  EXPECT_EQ(status_of(target_too_long), 414);
  EXPECT_EQ(status_of(head_too_large), 431);
  std::set<std::string_view> sentences;
  for (int i = 0; i <= static_cast<int>(last_head_error); ++i)
    sentences.insert(describe(static_cast<HeadError>(i)));
  EXPECT_EQ(sentences.size(), static_cast<std::size_t>(last_head_error) + 1)
      << "two errors share a sentence";
}

}  // namespace
}  // namespace oceanid::proxy
