// Changes of set elements against the real kernel, in a network namespace of their own.

#include "routing/core/spill_elements.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"

#include <thread>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::HasSubstr;
using testing::Not;

Prefix prefix(std::string_view text) {
  return Prefix::parse(text).value();
}
IpAddress address(std::string_view text) {
  return IpAddress::parse(text).value();
}

constexpr const char* table_text = R"(
table inet oceanid {
  set p4 { type ipv4_addr; flags interval; }
  set p6 { type ipv6_addr; flags interval; }
  set flows { type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service; flags timeout; }
  set ends { type ipv4_addr . inet_proto . inet_service; }
  set spill1_4 { type ipv4_addr . inet_proto . inet_service; flags timeout; }
  set spill2_4 { type ipv4_addr . inet_proto . inet_service; flags timeout; }
}
)";

struct World {
  asio::io_context io;
  std::unique_ptr<LinuxKernel> kernel;

  World() {
    shell("nft -f - <<'END'\n" + std::string(table_text) + "\nEND\n");
    auto opened = LinuxKernel::open(io.get_executor());
    EXPECT_TRUE(opened);
    kernel = std::move(*opened);
  }
  Result<void> apply(std::vector<ElementChange> changes,
                     std::optional<std::uint64_t> expected = std::nullopt) {
    return run_task(io, kernel->apply_elements(std::move(changes), expected));
  }
};

std::string list(const std::string& set) {
  return shell("nft list set inet oceanid " + set + " | tr -s ' \\n\\t' ' '");
}

void isolated(const std::function<void()>& body) {
  const int status = run_in_namespace(body);
  if (status == namespace_refused) GTEST_SKIP() << why_no_namespace();
  EXPECT_EQ(status, 0);
}

TEST(ElementsNamespace, IntervalsComeAndGoAndReachTheEndOfTheAddressSpace) {
  isolated([] {
    World world;
    auto done = world.apply(
        {{"p4",
          ElementAction::add,
          {prefix("192.0.2.0/25"), prefix("192.0.2.128/25"), prefix("198.51.100.7/32"),
           prefix("255.255.255.255/32"), prefix("0.0.0.0/8")},
          {}},
         {"p6", ElementAction::add, {prefix("2001:db8::/32"), prefix("ff00::/8")}, {}}});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("p4"), HasSubstr("elements = { 0.0.0.0/8, 192.0.2.0/25, 192.0.2.128/25, "
                                      "198.51.100.7, 255.255.255.255 }"));
    EXPECT_THAT(list("p6"), HasSubstr("elements = { 2001:db8::/32, ff00::/8 }"));
    done = world.apply(
        {{"p4", ElementAction::remove, {prefix("192.0.2.0/25"), prefix("255.255.255.255/32")}, {}},
         {"p4", ElementAction::add, {prefix("192.0.2.0/26")}, {}},
         {"p6", ElementAction::remove, {prefix("ff00::/8")}, {}}});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("p4"),
                HasSubstr("elements = { 0.0.0.0/8, 192.0.2.0/26, 192.0.2.128/25, 198.51.100.7 }"));
    EXPECT_THAT(list("p6"), HasSubstr("elements = { 2001:db8::/32 }"));
  });
}

TEST(ElementsNamespace, ConcatenatedKeysAndTimeouts) {
  isolated([] {
    World world;
    ElementKey flow;
    flow.address(address("192.0.2.1"))
        .address(address("203.0.113.9"))
        .protocol(6)
        .port(40000)
        .port(443);
    ElementKey end;
    end.address(address("203.0.113.9")).protocol(17).port(53);
    const auto done =
        world.apply({{"flows", ElementAction::add, {}, {{flow, std::chrono::seconds(60)}}},
                     {"ends", ElementAction::add, {}, {{end}}}});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("flows"), HasSubstr("192.0.2.1 . 203.0.113.9 . tcp . 40000 . 443"));
    EXPECT_THAT(list("flows"), HasSubstr("timeout 1m"));
    EXPECT_THAT(list("ends"), HasSubstr("203.0.113.9 . udp . 53"));
    ASSERT_TRUE(world.apply({{"ends", ElementAction::remove, {}, {{end}}}}));
    EXPECT_THAT(list("ends"), Not(HasSubstr("udp")));
  });
}

TEST(ElementsNamespace, SpillsAreToldWhateverIsInTheSets) {
  isolated([] {
    World world;
    shell("nft add element inet oceanid spill1_4 '{ 192.0.2.10 . tcp . 5432 timeout 20s }'");
    const Destination to{address("192.0.2.10"), 5432, 6};
    auto done = world.apply(changes_of({{to, 0, 1}}));
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("spill1_4"), HasSubstr("192.0.2.10 . tcp . 5432 timeout 10m"))
        << "what was there has its full time again";
    done = world.apply(changes_of({{to, 1, 2}}));
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("spill1_4"), Not(HasSubstr("5432")));
    EXPECT_THAT(list("spill2_4"), HasSubstr("192.0.2.10 . tcp . 5432"));
    shell("nft flush set inet oceanid spill2_4");
    done = world.apply(changes_of({{to, 2, 0}}));
    ASSERT_TRUE(done) << done.error().what << " (it had expired)";
    EXPECT_THAT(list("spill2_4"), Not(HasSubstr("5432")));
  });
}

// A removal of what is not there fails, and nothing of the transaction stays.
TEST(ElementsNamespace, ATransactionIsAllOrNothing) {
  isolated([] {
    World world;
    const auto done = world.apply({{"p4", ElementAction::add, {prefix("192.0.2.0/24")}, {}},
                                   {"p4", ElementAction::remove, {prefix("10.0.0.0/8")}, {}}});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().os_error, ENOENT) << done.error().what;
    EXPECT_THAT(list("p4"), Not(HasSubstr("192.0.2.0")));
    EXPECT_FALSE(world.apply({{"missing", ElementAction::add, {prefix("10.0.0.0/8")}, {}}}));
    EXPECT_TRUE(world.apply({{"p4", ElementAction::add, {prefix("10.0.0.0/8")}, {}}}))
        << "the answers of the failed one are not taken for this one's";
  });
}

TEST(ElementsNamespace, NothingIsWrittenIntoTablesThatSomebodyElseChanged) {
  isolated([] {
    World world;
    const std::uint64_t stamp = world.kernel->read_actual()->nft.stamp;
    ASSERT_TRUE(world.apply({{"p4", ElementAction::add, {prefix("192.0.2.0/24")}, {}}}, stamp));
    shell("nft add table inet foreign");  // another generation, but not ours to mind
    ASSERT_TRUE(world.apply({{"p4", ElementAction::add, {prefix("198.51.100.0/24")}, {}}}, stamp));
    shell("nft delete table inet oceanid; nft -f - <<'END'\n" + std::string(table_text) +
          "\nEND\n");
    const auto done =
        world.apply({{"p4", ElementAction::add, {prefix("203.0.113.0/24")}, {}}}, stamp);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::closed);
    EXPECT_THAT(list("p4"), Not(HasSubstr("203.0.113.0")));
  });
}

// Commits of others between our question and our answer only cost another attempt.
TEST(ElementsNamespace, OthersCommitsAreSurvived) {
  isolated([] {
    World world;
    const std::uint64_t stamp = world.kernel->read_actual()->nft.stamp;
    std::thread others([] { shell("for i in $(seq 60); do nft add table inet foreign$i; done"); });
    for (unsigned i = 0; i < 60; ++i) {
      const auto done =
          world.apply({{"p4",
                        ElementAction::add,
                        {Prefix::host(IpAddress::v4({192, 0, 2, static_cast<std::uint8_t>(i)}))},
                        {}}},
                      stamp);
      EXPECT_TRUE(done) << done.error().what;
    }
    others.join();
    EXPECT_THAT(list("p4"), HasSubstr("192.0.2.59"));
  });
}

// What is committed names the generation that was asked for before the stamp was read: a commit
// that came between is noticed by the kernel itself, and the stamp is read once more.
TEST(ElementsNamespace, ACommitBetweenStampAndBatchCostsAnotherLook) {
  isolated([] {
    const World world;
    asio::io_context io;
    int looks = 0;
    const auto apply = [&](std::uint64_t later) {
      looks = 0;
      auto writer = ElementWriter::open([&](NetlinkSocket&) -> Result<std::uint64_t> {
        if (++looks > 1) return later;
        shell("nft add table inet foreign; nft delete table inet foreign");
        return 7;
      });
      std::vector<ElementChange> changes{
          {"p4", ElementAction::add, {prefix(later == 7 ? "192.0.2.0/24" : "10.0.0.0/8")}, {}}};
      return run_task(io, writer->apply(std::move(changes), 7));
    };
    const auto done = apply(7);
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(looks, 2) << "the kernel did not mind the commit between";
    EXPECT_THAT(list("p4"), HasSubstr("192.0.2.0/24"));
    const auto refused = apply(8);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::closed);
    EXPECT_EQ(looks, 2);
    EXPECT_THAT(list("p4"), Not(HasSubstr("10.0.0.0/8")));
  });
}

TEST(ElementsNamespace, HundredThousandElementsAreOneTransaction) {
  isolated([] {
    World world;
    ElementChange change{"p4", ElementAction::add, {}, {}};
    for (unsigned i = 0; i < 100'000; ++i)
      change.prefixes.push_back(Prefix::host(
          IpAddress::v4({10, static_cast<std::uint8_t>(i >> 15), static_cast<std::uint8_t>(i >> 7),
                         static_cast<std::uint8_t>(i << 1)})));
    auto done = world.apply({change});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(shell("nft list set inet oceanid p4 | grep -oE '[0-9]+([.][0-9]+){3}' | wc -l"),
                HasSubstr("100000"));
    change.action = ElementAction::remove;
    done = world.apply({change});
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_THAT(list("p4"), Not(HasSubstr("elements")));
  });
}

}  // namespace
}  // namespace oceanid::routing
