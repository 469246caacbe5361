#include "proxy/core/htpasswd.hpp"

#include "proxy/core/failure_limiter.hpp"

#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

using namespace std::chrono_literals;

TEST(Users, AreReadWithEveryHashWeTake) {
  const UsersFile file = parse_users(
      "# the apps\n"
      "\n"
      "a:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\r\n"
      "b:$6$salt$" +
      std::string(86, 'x') +
      "\n"
      "c:$5$rounds=5000$salt$" +
      std::string(43, 'x') + "\n");
  EXPECT_TRUE(file.problems.empty()) << file.problems.front();
  EXPECT_EQ(file.users.size(), 3U);
  EXPECT_TRUE(file.users.at("a").ends_with("0wCW"));
}

TEST(Users, ProblemsNameTheLineAndNeverTheHash) {
  const UsersFile file = parse_users(
      "no colon\n"
      "plain:secret\n"
      "sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"
      "md5:$apr1$abcdefgh$0123456789012345678901\n"
      ":$6$salt$x\n"
      "short:$2y$05$abc\n"
      "slow:$2y$31$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n"
      "slower:$6$rounds=999999999$salt$" +
      std::string(86, 'x') + "\n");
  EXPECT_TRUE(file.users.empty());
  ASSERT_EQ(file.problems.size(), 8U);
  EXPECT_TRUE(file.problems[1].starts_with("line 2: "));
  for (const std::string& problem : file.problems)
    EXPECT_FALSE(problem.contains("secret") || problem.contains("W6ph") || problem.contains("$05"))
        << problem;
}

TEST(Users, TheFirstLineOfAUserCounts) {
  const std::string one = "$6$salt$" + std::string(86, 'x');
  const std::string two = "$6$salt$" + std::string(86, 'y');
  const UsersFile file = parse_users("a:" + one + "\na:" + two + "\n");
  EXPECT_EQ(file.users.at("a"), one);
  EXPECT_EQ(file.problems.size(), 1U);
}

TEST(Basic, IsReadAsRfc7617HasIt) {
  const auto given = parse_basic("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  ASSERT_TRUE(given);
  EXPECT_EQ(given->user, "Aladdin");
  EXPECT_EQ(given->password, "open sesame");
  EXPECT_TRUE(parse_basic("bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ"));
  EXPECT_EQ(parse_basic("Basic dGVzdDoxMjPCow==")->password, "123\xc2\xa3");
  EXPECT_EQ(parse_basic("Basic YTo=")->password, "");  // "a:"
  EXPECT_EQ(parse_basic("Basic YTpiOmM=")->password, "b:c");
}

TEST(Basic, AnythingElseIsNothing) {
  for (const std::string_view field :
       {"", "Basic", "Basic ", "Bearer abc",
        "BasicQWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Basic QQ==", "Basic !!!!", "Basic Og==", "Basic OnB3",
        "Basic YQBiOmM=", "Basic YTpiCg==", "Basic YTpiY", "Basic YT pi"})
    EXPECT_FALSE(parse_basic(field)) << field;
  EXPECT_FALSE(parse_basic("Basic " + std::string(4000, 'A')));
}

TEST(FailureLimiter, LetsAFewTriesThroughAndThenSlowly) {
  FailureLimiter limiter;
  const FailureLimiter::Time start(1h);
  const auto client = IpAddress::parse("192.0.2.1").value();
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(limiter.try_once(client, start));
  EXPECT_FALSE(limiter.try_once(client, start));
  EXPECT_FALSE(limiter.try_once(IpAddress::parse("::ffff:192.0.2.1").value(), start));
  EXPECT_TRUE(limiter.try_once(IpAddress::parse("192.0.2.2").value(), start));
  EXPECT_FALSE(limiter.try_once(client, start + 1s));
  EXPECT_TRUE(limiter.try_once(client, start + 2s));
  limiter.was_right(client);
  EXPECT_TRUE(limiter.try_once(client, start + 2s));
}

TEST(FailureLimiter, ASubnetCountsAsOneClient) {
  FailureLimiter limiter;
  const FailureLimiter::Time start(1h);
  int passed = 0;
  for (int i = 0; i < 100; ++i)
    passed += limiter.try_once(IpAddress::parse("2001:db8::" + std::to_string(i)).value(), start);
  EXPECT_EQ(passed, 10);
}

TEST(FailureLimiter, StaysSmallHoweverManyAsk) {
  FailureLimiter limiter;
  const FailureLimiter::Time start(1h);
  int passed = 0;
  for (unsigned i = 0; i < 20'000; ++i) {
    const auto client =
        IpAddress::v4({10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                       static_cast<std::uint8_t>(i)});
    passed += limiter.try_once(client, start);
  }
  EXPECT_EQ(limiter.clients(), FailureLimiter::max_clients);
  EXPECT_EQ(passed, 4096 + 10);  // the rest shares one bucket
}

}  // namespace
}  // namespace oceanid::proxy
