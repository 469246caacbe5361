#include "tunnel/core/deep_book.hpp"

#include "tunnel/core/clock_watch.hpp"

#include <limits>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using Kind = HealthTarget::Kind;

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

class Deep : public ::testing::Test {
 protected:
  Deep() {
    health_.targets = {{Kind::tls, "a.example:443", {}},
                       {Kind::dns, "a.example", {}},
                       {Kind::postgres, "db.example:5432", {}},
                       {Kind::ready, "http://127.0.0.1:2000/ready", {}}};
    health_.exit_ip.url = "https://ip.example/";
    book_.configure({{"one", {address("203.0.113.10")}}, {"two", {address("203.0.113.20")}}},
                    health_, start_);
  }
  bool says(const std::string& exit, const std::string& target, bool good,
            std::optional<IpAddress> seen = {}) {
    DeepResult result;
    result.exit = exit;
    result.target = target;
    result.good = good;
    result.error = good ? "" : "refused";
    result.seen = seen;
    return book_.take(std::move(result));
  }
  ExitFindings of(const std::string& exit, Duration later = 1min) {
    ExitFindings out;
    out.name = exit;
    book_.fill(out, start_ + later);
    return out;
  }

  HealthSettings health_;
  DeepBook book_;
  TimePoint start_{1h};
};

TEST_F(Deep, TakesOnlyWhatWasAsked) {
  EXPECT_TRUE(says("one", "tls a.example:443", true));
  EXPECT_FALSE(says("three", "tls a.example:443", true));
  EXPECT_FALSE(says("one", "tls b.example:443", true));
  EXPECT_FALSE(says("one", "ready http://127.0.0.1:2000/ready", true)) << "a neighbour has no exit";
  EXPECT_TRUE(says("", "ready http://127.0.0.1:2000/ready", true));
  DeepResult odd;
  odd.exit = "one";
  odd.target = "tls a.example:443";
  odd.seconds = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(book_.take(odd));
  odd.seconds = -1;
  EXPECT_FALSE(book_.take(odd));
  odd.seconds = 1;
  odd.error = std::string(10'000, 'x') + "\x1b[2J";
  EXPECT_TRUE(book_.take(odd));
  EXPECT_EQ(book_.records().at({"one", "tls a.example:443"}).error.size(), 200U);
}

TEST_F(Deep, WaitsForItsCanariesAMomentAndForItsAddressForever) {
  EXPECT_EQ(of("one", 900ms).canaries, Verdict::pending);
  EXPECT_EQ(of("one", 2s).canaries, Verdict::none) << "nobody says anything: that is no verdict";
  EXPECT_EQ(of("one", 1h).exit_address, Verdict::pending) << "fails closed";
}

TEST_F(Deep, CanariesSpeakTogether) {
  says("one", "tls a.example:443", true);
  says("one", "dns a.example", true);
  EXPECT_EQ(of("one").canaries, Verdict::good);
  says("one", "tls a.example:443", false);
  EXPECT_EQ(of("one").canaries, Verdict::good) << "one lost probe is not an outage";
  says("one", "tls a.example:443", false);
  EXPECT_EQ(of("one").canaries, Verdict::partial);
  EXPECT_EQ(of("one").canary_error, "tls a.example:443: refused");
  EXPECT_EQ(of("one").canaries_good, 1U);
  says("one", "dns a.example", false);
  EXPECT_EQ(of("one").canaries, Verdict::bad) << "all of them in the same round";
  EXPECT_EQ(of("two").canaries, Verdict::none);
  says("one", "tls a.example:443", true);
  EXPECT_EQ(of("one").canaries, Verdict::partial);
  says("one", "dns a.example", true);
  EXPECT_EQ(of("one").canaries, Verdict::good);
}

TEST_F(Deep, AllAtOnceNeedsNoSecondRound) {
  says("one", "tls a.example:443", false);
  EXPECT_NE(of("one").canaries, Verdict::bad);
  says("one", "dns a.example", false);
  EXPECT_EQ(of("one").canaries, Verdict::bad);
}

TEST_F(Deep, ServicesAreReportedAndBlamedOnNoExit) {
  for (int i = 0; i < 2; ++i) {
    says("one", "postgres db.example:5432", false);
    says("", "ready http://127.0.0.1:2000/ready", false);
  }
  EXPECT_NE(of("one").canaries, Verdict::bad);
  std::size_t failing = 0;
  for (const auto& service : book_.services("one"))
    failing += service.error.empty() ? 0 : 1;
  EXPECT_EQ(failing, 2U);
}

TEST_F(Deep, AWrongAddressIsEnoughOnce) {
  says("one", "exit_ip", true, address("203.0.113.10"));
  EXPECT_EQ(of("one").exit_address, Verdict::good);
  says("one", "exit_ip", true, address("203.0.113.7"));
  const auto wrong = of("one");
  EXPECT_EQ(wrong.exit_address, Verdict::bad);
  EXPECT_EQ(wrong.seen_address, "203.0.113.7");
  EXPECT_EQ(wrong.expected_address, "203.0.113.10");
  EXPECT_EQ(book_.records().at({"one", "exit_ip"}).mismatches, 1U);
  says("one", "exit_ip", false);
  EXPECT_EQ(of("one").exit_address, Verdict::bad) << "silence takes nothing back";
  says("one", "exit_ip", true, address("203.0.113.10"));
  EXPECT_EQ(of("one").exit_address, Verdict::good);
}

// What an exit says of itself is there with its first echo.
TEST_F(Deep, AnExitIsBelievedUntilTheWorldHasAnswered) {
  const auto with_word = [&](const char* said) {
    ExitFindings out;
    out.name = "one";
    out.word = ExitWord{.serves = true, .ipv4 = address(said), .ipv6 = address("2001:db8::7")};
    book_.fill(out, start_ + 1min);
    return out;
  };
  EXPECT_EQ(with_word("203.0.113.10").exit_address, Verdict::pending) << "the world is asked";
  const auto wrong = with_word("203.0.113.7");
  EXPECT_EQ(wrong.exit_address, Verdict::bad);
  EXPECT_TRUE(wrong.by_its_word);
  EXPECT_EQ(wrong.seen_address, "203.0.113.7");
  EXPECT_EQ(wrong.expected_address, "203.0.113.10");
  says("one", "exit_ip", true, address("203.0.113.10"));
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::good) << "the world knows better";
  health_.exit_ip.url.reset();
  book_.configure({{"one", {address("203.0.113.10")}}}, health_, start_);
  EXPECT_EQ(with_word("203.0.113.10").exit_address, Verdict::good) << "nobody out there is asked";
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::bad);
  EXPECT_EQ(of("one").exit_address, Verdict::none) << "an exit that says nothing";
  book_.configure({{"one", {}}}, health_, start_);
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::none) << "nothing is expected";
}

// The next look may be a minute away.
TEST_F(Deep, NewsFromAnExitCountsUntilTheWorldHasSeenIt) {
  const auto with_word = [&](const char* said) {
    ExitFindings out;
    out.name = "one";
    out.word = ExitWord{.serves = true, .ipv4 = address(said), .ipv6 = std::nullopt};
    book_.fill(out, start_ + 1min);
    return out;
  };
  says("one", "exit_ip", true, address("203.0.113.10"));
  EXPECT_EQ(with_word("203.0.113.10").exit_address, Verdict::good);
  const auto moved = with_word("203.0.113.7");
  EXPECT_EQ(moved.exit_address, Verdict::bad);
  EXPECT_TRUE(moved.by_its_word);
  says("one", "exit_ip", false);
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::bad) << "the world has not answered";
  EXPECT_EQ(with_word("203.0.113.10").exit_address, Verdict::good) << "it has come back";
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::bad);
  says("one", "exit_ip", true, address("203.0.113.10"));
  EXPECT_EQ(with_word("203.0.113.7").exit_address, Verdict::good)
      << "something beyond it translates, as the world says";
}

TEST_F(Deep, AReloadKeepsWhatIsKnownOfWhatStays) {
  says("one", "exit_ip", true, address("203.0.113.10"));
  health_.targets.clear();
  book_.configure({{"one", {address("203.0.113.10")}}}, health_, start_ + 1min);
  EXPECT_EQ(of("one").exit_address, Verdict::good);
  EXPECT_EQ(of("one").canaries, Verdict::none);
  EXPECT_EQ(book_.records().size(), 1U);
}

TEST_F(Deep, WithoutExitsTheHostsOwnWayIsAsked) {
  health_.exit_ip.expect = {address("203.0.113.10")};
  book_.configure({}, health_, start_);
  EXPECT_TRUE(says("", "tls a.example:443", false));
  EXPECT_TRUE(says("", "tls a.example:443", false));
  EXPECT_EQ(book_.services("").front().error, "refused");
}

TEST(BlameTargets, TheLastExitIsNotGivenUpForThem) {
  ExitEvidence good;
  good.path = PathState::up;
  good.canaries = Verdict::good;
  ExitEvidence bad = good;
  bad.canaries = Verdict::bad;
  std::vector<ExitEvidence> exits{bad, good};
  blame_targets(exits);
  EXPECT_EQ(exits[0].canaries, Verdict::bad);
  exits[1].path = PathState::down;
  blame_targets(exits);
  EXPECT_EQ(exits[0].canaries, Verdict::partial);
  exits = {bad, bad};
  blame_targets(exits);
  EXPECT_EQ(exits[0].canaries, Verdict::partial);
  EXPECT_EQ(exits[1].canaries, Verdict::partial);
}

TEST(BlameTargets, AnExitThatSaysItsUplinkIsDownIsNotForgiven) {
  ExitEvidence bad;
  bad.path = PathState::up;
  bad.canaries = Verdict::bad;
  ExitEvidence cut = bad;
  cut.serves = false;
  cut.canaries = Verdict::none;
  std::vector<ExitEvidence> exits{cut, bad};
  blame_targets(exits);
  EXPECT_FALSE(exits[0].serves);
  EXPECT_EQ(exits[1].canaries, Verdict::partial) << "one that leads nowhere proves no target good";
  ExitHealth health(std::chrono::seconds(10));
  EXPECT_EQ(health.update(exits[0], TimePoint(1s)), HealthState::down);
  EXPECT_EQ(health.fall(), Fall::exit_uplink);
}

TEST(ClockWatch, SeesAClockThatWasSetBackUntilItHasCaughtUp) {
  ClockWatch watch;
  std::chrono::system_clock::time_point wall{1'700'000'000s};
  std::chrono::steady_clock::time_point steady{1h};
  const auto after = [&](std::chrono::seconds time, std::chrono::seconds step) {
    steady += time;
    wall += time + step;
    return watch.observe(wall, steady);
  };
  EXPECT_EQ(after(1s, 0s), std::nullopt);
  EXPECT_EQ(after(1s, 3600s), std::nullopt) << "forward is no trouble";
  EXPECT_EQ(after(1s, -1800s), 1800s);
  EXPECT_EQ(after(900s, 0s), 1800s);
  EXPECT_EQ(after(901s, 0s), std::nullopt);
  EXPECT_EQ(after(1s, -1s), std::nullopt) << "a second is what time servers correct";
}

TEST(ClockWatch, ComparesWithTheLastHandshakeOfAnEarlierProcess) {
  const std::chrono::system_clock::time_point handshake{1'700'000'000s};
  std::chrono::steady_clock::time_point steady{10s};
  ClockWatch watch;
  watch.remember(handshake);
  EXPECT_EQ(watch.observe(handshake - 3600s, steady), 3600s);
  steady += 60s;
  EXPECT_EQ(watch.observe(handshake - 3540s, steady), 3600s) << "the clock runs as it should";
  steady += 1s;
  EXPECT_EQ(watch.observe(handshake + 5s, steady), std::nullopt) << "a time server has set it";
  steady += 1s;
  EXPECT_EQ(watch.observe(handshake - 94s, steady), 100s) << "and what follows counts from there";

  ClockWatch right;
  right.remember(handshake);
  EXPECT_EQ(right.observe(handshake + 1s, steady), std::nullopt);
}

TEST(ClockWatch, AMomentOnDiskIsReadAsItWasWrittenAndNothingElseIs) {
  const std::chrono::system_clock::time_point moment{1'700'000'000s};
  EXPECT_EQ(encode_moment(moment), "1700000000\n");
  EXPECT_EQ(decode_moment(encode_moment(moment + 1ms)), moment + 1s);
  for (const char* text :
       {"", "\n", "-1", "17e8", "1700000000\n\n", " 1", "4294967296", "99999999999999999999"})
    EXPECT_EQ(decode_moment(text), std::nullopt) << text;
}

}  // namespace
}  // namespace oceanid::tunnel
