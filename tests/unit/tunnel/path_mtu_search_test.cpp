#include "simulated_path.hpp"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::tunnel {
namespace {

using namespace std::chrono_literals;
using testing::SimulatedPath;
using Time = PathMtuSearch::Time;

// The largest outer size that matters on a path of `mtu` behind a link of `link`.
unsigned right(unsigned mtu, unsigned link, Family family) {
  return aligned_path_mtu(std::min(mtu, link), family);
}

struct Trial {
  explicit Trial(PathMtuSearch::Settings settings = {}, std::uint64_t seed = 1)
      : family(settings.outer), search(settings), path(seed, search) {
    path.link = settings.largest;
  }
  void start() { search.start(path.now); }
  unsigned size() const { return search.size().value_or(0); }
  // How long until the size is `wanted`; none: not within the limit.
  std::optional<std::chrono::milliseconds> until(unsigned wanted, PathMtuSearch::Duration limit) {
    const Time begin = path.now;
    while (size() != wanted) {
      if (path.now - begin > limit) return std::nullopt;
      path.run(5ms);
    }
    return std::chrono::duration_cast<std::chrono::milliseconds>(path.now - begin);
  }
  Family family;
  PathMtuSearch search;
  SimulatedPath path;
};

TEST(PathMtuSearch, FindsTheTableOfTheReferenceWithinASecond) {
  for (const Family family : {Family::v4, Family::v6})
    for (const unsigned mtu : {1280U, 1340U, 1400U, 1420U, 1460U, 1492U, 1500U})
      for (const bool silent : {false, true}) {
        Trial run({.outer = family});
        run.path.mtu = mtu;
        run.path.silent = silent;
        run.start();
        const auto took = run.until(right(mtu, 1500, family), 4s);
        ASSERT_TRUE(took) << mtu << " " << run.size();
        EXPECT_LE(*took, 1100ms);
        if (!silent || mtu == 1500) EXPECT_LE(*took, 100ms) << "no need to wait for what is known";
        run.path.run(5s);
        EXPECT_EQ(run.search.state(), SearchState::complete);
        EXPECT_EQ(run.size(), right(mtu, 1500, family));
      }
}

TEST(PathMtuSearch, SaysNothingBeforeAnythingArrived) {
  Trial run;
  run.path.answers = false;
  run.start();
  EXPECT_EQ(run.search.state(), SearchState::base);
  run.path.run(2s);
  EXPECT_FALSE(run.search.size());
}

TEST(PathMtuSearch, APathBelowTheBaseIsAnErrorAndStillMeasured) {
  Trial run;
  run.path.mtu = 1000;
  run.start();
  run.path.run(20s);
  EXPECT_EQ(run.search.state(), SearchState::error);
  EXPECT_EQ(run.size(), aligned_path_mtu(1000, Family::v4));
  run.path.mtu = 1500;
  run.path.run(20s);
  EXPECT_EQ(run.size(), 1500U);
  EXPECT_EQ(run.search.state(), SearchState::complete);
}

TEST(PathMtuSearch, ASmallerLinkOfOurOwnIsKnownAtOnce) {
  Trial run;
  run.path.link = 1400;
  run.start();
  const auto took = run.until(1388, 4s);
  ASSERT_TRUE(took);
  EXPECT_LE(*took, 150ms);
}

TEST(PathMtuSearch, ALinkThatGetsNarrowerIsFollowedWithoutADipBelowIt) {
  Trial run;
  run.start();
  run.path.run(5s);
  run.path.link = 1400;
  const Time begin = run.path.now;
  unsigned least = 1500;
  run.path.watch = [&](Time) { least = std::min(least, run.size()); };
  ASSERT_TRUE(run.until(1388, 1500ms));
  EXPECT_LE(run.path.now - begin, 1s);
  run.path.run(5s);
  EXPECT_EQ(least, 1388U);
}

TEST(PathMtuSearch, FallsWithinOneAndAHalfSecondsOfTrafficAndRisesWithTheTimer) {
  for (const unsigned mtu : {1200U, 1280U, 1400U, 1492U}) {
    Trial run({.raise = 30s});
    run.start();
    run.path.run(10s);
    ASSERT_EQ(run.size(), 1500U);
    run.path.mtu = mtu;
    const auto fell = run.until(right(mtu, 1500, Family::v4), 1500ms);
    EXPECT_TRUE(fell) << run.size();
    EXPECT_EQ(run.search.black_holes(), 1U);
    run.path.run(1s);
    run.path.mtu = 1500;
    EXPECT_TRUE(run.until(1500, 35s)) << run.size();
  }
}

TEST(PathMtuSearch, AfterABlackHoleTheFormerSizeIsTriedAgainAfterAMinute) {
  Trial run;
  run.start();
  run.path.run(5s);
  run.path.mtu = 1400;
  ASSERT_TRUE(run.until(1388, 2s));
  run.path.mtu = 1500;
  EXPECT_FALSE(run.until(1500, 50s));
  EXPECT_TRUE(run.until(1500, 20s));
}

TEST(PathMtuSearch, ARoutersWordShortensTheDuel) {
  Trial run;
  run.start();
  run.path.run(5s);
  run.path.mtu = 1400;
  run.path.silent = false;
  EXPECT_TRUE(run.until(1388, 1s));
}

TEST(PathMtuSearch, ARoutersWordAloneChangesNothing) {
  Trial run;
  run.start();
  run.path.run(5s);
  // Lies about every probe that is under way.
  for (int step = 0; step < 200; ++step) {
    for (std::uint64_t id = 1; id < 1000; ++id)
      run.search.on_hint(id, 1300, run.path.now);
    ASSERT_EQ(run.size(), 1500U);
    run.path.run(5ms);
  }
  run.path.run(5s);
  EXPECT_EQ(run.size(), 1500U);
  EXPECT_EQ(run.search.black_holes(), 0U);
}

TEST(PathMtuSearch, AnOutageIsNoBlackHole) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Trial run({}, seed);
    run.path.loss = 0.05;
    run.start();
    run.path.run(5s);
    for (int i = 0; i < 10; ++i) {
      run.path.cut = true;
      run.path.run(std::chrono::milliseconds(run.path.number(20, 4000)));
      run.path.cut = false;
      run.path.run(std::chrono::milliseconds(run.path.number(20, 4000)));
    }
    EXPECT_EQ(run.search.black_holes(), 0U) << "seed " << seed;
  }
}

TEST(PathMtuSearch, SuspicionFromElsewhereIsTestedNotBelieved) {
  Trial run;
  run.path.traffic = false;
  run.start();
  run.path.run(10s);
  run.search.on_suspicion(run.path.now);
  EXPECT_TRUE(run.search.in_doubt());
  run.path.run(1s);
  EXPECT_FALSE(run.search.in_doubt());
  EXPECT_EQ(run.size(), 1500U);
  run.path.mtu = 1400;
  run.search.on_suspicion(run.path.now);
  EXPECT_TRUE(run.until(1388, 1s));
}

TEST(PathMtuSearch, AnotherLinkIsMeasuredAtOnce) {
  Trial run({.largest = 1400});
  run.path.mtu = 9000;
  run.start();
  run.path.run(5s);
  ASSERT_EQ(run.size(), 1388U);
  run.path.link = 9000;
  run.search.on_network_change(9000, run.path.now);
  EXPECT_TRUE(run.until(8988, 2s)) << run.size();
}

TEST(PathMtuSearch, AnIdlePathCostsLittle) {
  Trial run;
  run.path.traffic = false;
  run.start();
  run.path.run(10s);
  const auto before = run.path.bytes;
  run.path.run(550s);
  EXPECT_LE(run.path.bytes - before, 550 / 5 * 1500U + 1500U);
}

// Any path from 1200 to 9000, losses up to a fifth of each direction, silent or not, changing:
// it comes to the exact largest candidate, is never above the path for more than 1.5 s of traffic,
// and stays where it is while the path does.
class AnyPath : public ::testing::Test {
 protected:
  struct Figures {
    unsigned wrong = 0;
    unsigned late = 0;
    unsigned restless = 0;
    std::chrono::nanoseconds worst{};
  };

  static void one(std::uint64_t seed, double most_loss, Figures& figures) {
    std::mt19937_64 random(seed);
    const auto pick = [&](unsigned low, unsigned high) {
      return std::uniform_int_distribution<unsigned>(low, high)(random);
    };
    const Family family = pick(0, 1) == 0 ? Family::v4 : Family::v6;
    const bool jumbo = pick(0, 2) == 0;
    const unsigned link = jumbo ? pick(1500, 9000) : pick(0, 3) == 0 ? pick(1300, 1500) : 1500;
    Trial run({.outer = family, .largest = link, .raise = 30s}, seed ^ 0x9e3779b97f4a7c15ULL);
    run.path.loss = most_loss * pick(0, 100) / 100.0;
    run.path.rtt = std::chrono::milliseconds(pick(1, 120));
    run.path.silent = pick(0, 1) == 0;
    Time above_since = Time::max();
    run.path.watch = [&](Time now) {
      if (run.size() <= run.path.mtu)
        above_since = Time::max();
      else if (above_since == Time::max())
        above_since = now;
      else
        figures.worst = std::max<std::chrono::nanoseconds>(figures.worst, now - above_since);
      if (above_since != Time::max() && now - above_since > 1500ms) {
        ++figures.late;
        if (figures.late <= 5)
          ADD_FAILURE() << "seed " << seed << ": " << run.size() << " on a path of " << run.path.mtu
                        << " for more than 1.5 s, loss " << run.path.loss;
        above_since = Time::max();
      }
    };
    run.start();
    const unsigned least = family == Family::v4 ? 1200 : 1280;
    for (int change = 0; change < 3; ++change) {
      run.path.mtu = pick(0, 3) == 0 ? pick(least, 9000) : pick(least, 1500);
      const unsigned wanted = right(run.path.mtu, link, family);
      run.path.run(75s);  // two raise intervals and a search
      if (run.size() != wanted) {
        ++figures.wrong;
        if (figures.wrong <= 5)
          ADD_FAILURE() << "seed " << seed << ": " << run.size() << " instead of " << wanted
                        << ", loss " << run.path.loss << " link " << link << " path "
                        << run.path.mtu << " " << to_string(run.search.state());
      }
      const unsigned settled = run.size();
      const auto black_holes = run.search.black_holes();
      run.path.run(35s);
      if (run.size() != settled || run.search.black_holes() != black_holes) {
        ++figures.restless;
        if (figures.restless <= 5)
          ADD_FAILURE() << "seed " << seed << ": from " << settled << " to " << run.size()
                        << " on a path that did not change, loss " << run.path.loss;
      }
    }
  }

  static void many(std::uint64_t first, unsigned count, double most_loss) {
    if (const char* given = std::getenv("OCEANID_MTU_SEED")) {
      first = std::strtoull(given, nullptr, 10);
      count = 1;
    }
    Figures figures;
    for (unsigned i = 0; i < count; ++i)
      one(first + i, most_loss, figures);
    std::cout << "seeds from " << first << ", " << count << " paths: " << figures.wrong
              << " wrong, " << figures.late << " late, " << figures.restless
              << " restless, at most "
              << std::chrono::duration_cast<std::chrono::milliseconds>(figures.worst).count()
              << " ms above the path\n";
  }
};

TEST_F(AnyPath, WithoutLosses) {
  many(1, 1000, 0);
}

TEST_F(AnyPath, WithLossesUpToAFifth) {
  many(100000, 1000, 0.2);
}

TEST_F(AnyPath, OfThisRun) {
  many(std::random_device{}(), 500, 0.1);
}

}  // namespace
}  // namespace oceanid::tunnel
