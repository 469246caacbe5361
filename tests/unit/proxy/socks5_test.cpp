#include "proxy/core/socks5.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using State = Socks5State;
using namespace std::string_literals;

TEST(Socks5, ReadsAGreeting) {
  const auto both = read_socks5_greeting("\x05\x03\x00\x01\x02rest"s);
  EXPECT_EQ(both.state, State::done);
  EXPECT_EQ(both.size, 5U);
  EXPECT_TRUE(both.offers_none && both.offers_password);
  EXPECT_EQ(choose_socks5_method(both, false), Socks5Method::none);
  EXPECT_EQ(choose_socks5_method(both, true), Socks5Method::password);
  const auto open = read_socks5_greeting("\x05\x01\x00"s);
  EXPECT_EQ(choose_socks5_method(open, true), Socks5Method::unacceptable);
  const auto only_password = read_socks5_greeting("\x05\x01\x02"s);
  EXPECT_EQ(choose_socks5_method(only_password, false), Socks5Method::unacceptable);
  EXPECT_EQ(choose_socks5_method(read_socks5_greeting("\x05\x00"s), false),
            Socks5Method::unacceptable);
  for (const auto& part : {""s, "\x05"s, "\x05\x02"s, "\x05\x02\x00"s})
    EXPECT_EQ(read_socks5_greeting(part).state, State::need_more);
  for (const auto& other : {"\x04"s, "GET / HTTP/1.1"s, "\x16\x03\x01"s})
    EXPECT_EQ(read_socks5_greeting(other).state, State::failed);
  EXPECT_EQ(socks5_method(Socks5Method::unacceptable), "\x05\xff");
}

TEST(Socks5, ReadsCredentials) {
  const std::string whole = "\x01\x04user\x06se\0ret"s;
  const auto got = read_socks5_credentials(whole + "more");
  EXPECT_EQ(got.state, State::done);
  EXPECT_EQ(got.size, whole.size());
  EXPECT_EQ(got.user, "user");
  EXPECT_EQ(got.password, "se\0ret"s);
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_EQ(read_socks5_credentials(whole.substr(0, n)).state, State::need_more) << n;
  EXPECT_EQ(read_socks5_credentials("\x01\x01u\x00"s).state, State::done);  // an empty password
  EXPECT_EQ(read_socks5_credentials("\x05\x04user"s).state, State::failed);
  EXPECT_EQ(read_socks5_credentials("\x01\x00\x01p"s).state, State::failed);
  EXPECT_EQ(socks5_credentials_answer(true), "\x01\x00"s);
  EXPECT_NE(socks5_credentials_answer(false), "\x01\x00"s);
}

TEST(Socks5, ReadsRequestsOfEveryAddressType) {
  struct Row {
    std::string bytes;
    std::string target;
  };
  const Row rows[] = {
      {"\x05\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s, "192.0.2.7:443"},
      {"\x05\x01\x00\x04\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01\x00\x50"s,
       "[2001:db8::1]:80"},
      {"\x05\x01\x00\x04"s + std::string(10, '\0') + "\xff\xff\xc0\x00\x02\x07\x00\x50"s,
       "192.0.2.7:80"},
      {"\x05\x01\x00\x03\x10WWW.Example.Test\x01\xbb"s, "www.example.test:443"},
      {"\x05\x01\x00\x03\x05"s + "127.1\x01\xbb"s, "127.0.0.1:443"},
  };
  for (const Row& row : rows) {
    const auto got = read_socks5_request(row.bytes + "early");
    EXPECT_EQ(got.state, State::done) << got.detail;
    EXPECT_EQ(got.size, row.bytes.size());
    EXPECT_EQ(got.method, "CONNECT");
    EXPECT_EQ(got.target.to_string(), row.target);
    for (std::size_t n = 0; n < row.bytes.size(); ++n)
      EXPECT_EQ(read_socks5_request(row.bytes.substr(0, n)).state, State::need_more) << n;
  }
}

TEST(Socks5, RefusesWithTheRightCode) {
  struct Row {
    std::string bytes;
    Socks5Reply error;
  };
  const Row rows[] = {
      {"\x05\x02\x00\x01\xc0\x00\x02\x07\x01\xbb"s, Socks5Reply::command_not_supported},
      {"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"s, Socks5Reply::command_not_supported},
      {"\x05\xf0\x00\x01\x00\x00\x00\x00\x00\x00"s, Socks5Reply::command_not_supported},
      {"\x05\x01\x00\x02\xc0\x00\x02\x07\x01\xbb"s, Socks5Reply::address_type_not_supported},
      {"\x05\x01\x01\x01\xc0\x00\x02\x07\x01\xbb"s, Socks5Reply::general_failure},
      {"\x04\x01\x00\x01\xc0\x00\x02\x07\x01\xbb"s, Socks5Reply::general_failure},
      {"\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x00"s, Socks5Reply::general_failure},
      {"\x05\x01\x00\x03\x00\x01\xbb"s, Socks5Reply::general_failure},
      {"\x05\x01\x00\x03\x03"s + "a b\x01\xbb"s, Socks5Reply::general_failure},
      {"\x05\x01\x00\x03\x03"s + "a\0b\x01\xbb"s, Socks5Reply::general_failure},
  };
  for (const Row& row : rows) {
    const auto got = read_socks5_request(row.bytes);
    EXPECT_EQ(got.state, State::failed) << testing::PrintToString(row.bytes);
    EXPECT_EQ(got.error, row.error) << testing::PrintToString(row.bytes);
    EXPECT_FALSE(got.detail.empty());
  }
  EXPECT_EQ(read_socks5_request("\x05\x03\x00\x01"s).method, "UDP ASSOCIATE");
}

TEST(Socks5, EveryReasonHasAReply) {
  for (const ReasonRow& row : reason_table())
    EXPECT_EQ(socks5_reply_of(row.reason) == Socks5Reply::succeeded, row.reason == Reason::ok)
        << row.token;
  EXPECT_EQ(socks5_reply_of(Reason::policy_denied), Socks5Reply::not_allowed);
  EXPECT_EQ(socks5_reply_of(Reason::destination_prohibited), Socks5Reply::not_allowed);
  EXPECT_EQ(socks5_reply_of(Reason::connection_refused), Socks5Reply::connection_refused);
  EXPECT_EQ(socks5_reply_of(Reason::dns_error), Socks5Reply::host_unreachable);
  EXPECT_EQ(socks5_reply_of(Reason::destination_unreachable), Socks5Reply::network_unreachable);
  EXPECT_EQ(socks5_reply_of(Reason::connection_timeout), Socks5Reply::ttl_expired);
}

TEST(Socks5, RepliesCarryTheBoundAddress) {
  EXPECT_EQ(socks5_reply(Socks5Reply::not_allowed), "\x05\x02\x00\x01\0\0\0\0\0\0"s);
  EXPECT_EQ(socks5_reply(Socks5Reply::succeeded, SocketAddress::parse("192.0.2.7:258").value()),
            "\x05\x00\x00\x01\xc0\x00\x02\x07\x01\x02"s);
  EXPECT_EQ(socks5_reply(Socks5Reply::succeeded, SocketAddress::parse("[2001:db8::1]:1").value()),
            "\x05\x00\x00\x04\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01\x00\x01"s);
}

}  // namespace
}  // namespace oceanid::proxy
