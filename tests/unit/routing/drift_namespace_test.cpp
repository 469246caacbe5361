// The watch over our kernel state against the real kernel, in namespaces of its own: other programs
// are `nft` and `ip` here as everywhere.

#include "routing/edge/drift_watch.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/fakes/sample_state.hpp"

#include <chrono>

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::AnyOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

void isolated(const std::function<void()>& body) {
  const int status = run_in_namespace(body);
  if (status == namespace_refused) GTEST_SKIP() << why_no_namespace();
  EXPECT_EQ(status, 0);
}

// The owner in small: applies when a repair is due, and only then.
struct Keeper {
  Keeper() {
    shell(
        "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6;"
        "ip link set lo up; ip link add oc-one type veth peer name far-one;"
        "ip link add oc-two type veth peer name far-two;"
        "ip link set far-one up; ip link set far-two up");
    kernel = std::move(*LinuxKernel::open(io.get_executor()));
    reconciler = std::make_unique<Reconciler>(io.get_executor(), *kernel, directory.path);
    watch =
        std::make_unique<DriftWatch>(io.get_executor(), *kernel, *reconciler,
                                     DriftWatch::Events{[this](auto&) { ++host_changes; }, [] {}});
    state = sample_state();
    std::erase_if(state.routes, [](const Route& route) { return route.family == Family::v6; });
    state.nft.text.insert(state.nft.text.rfind("  chain guard"),
                          "  set few { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 } }\n");
    apply();
    settle();
  }
  ~Keeper() {
    bool stopped = false;
    asio::co_spawn(io, watch->stop(), [&](std::exception_ptr) { stopped = true; });
    io.restart();
    while (!stopped)
      io.run_one_for(std::chrono::milliseconds(100));
  }
  void apply() {
    watch->expect(state, kernel->facts().value());
    watch->begin_repair();
    const auto done = run_task(io, reconciler->apply(state));
    ASSERT_TRUE(done) << done.error().what;
    const auto told = watch->repaired(done->drift);
    events.insert(events.end(), told.begin(), told.end());
  }
  // Reads and repairs until nothing comes any more.
  void settle(std::chrono::milliseconds quiet = std::chrono::milliseconds(300)) {
    auto until = DriftClock::now() + quiet;
    while (DriftClock::now() < until) {
      io.restart();
      io.run_one_for(std::chrono::milliseconds(10));
      if (!watch->repair_at() || *watch->repair_at() > DriftClock::now()) continue;
      apply();
      until = DriftClock::now() + quiet;
    }
  }
  // What others do, and what is told about it once all is as before.
  std::vector<std::string> after(const std::string& command) {
    events.clear();
    const auto before = picture();
    shell(command);
    settle();
    EXPECT_EQ(picture(), before) << command;
    return events;
  }
  static std::string picture() {
    return shell(
        "ip rule; for t in 13128 13129 13131; do ip route show table $t; done;"
        "ip -o address show dev oc-one | sed 's/valid_lft.*//'; cat /sys/class/net/oc-one/mtu;"
        "nft list ruleset");
  }

  asio::io_context io;
  TemporaryDirectory directory;
  std::unique_ptr<LinuxKernel> kernel;
  std::unique_ptr<Reconciler> reconciler;
  std::unique_ptr<DriftWatch> watch;
  NetworkState state;
  std::vector<std::string> events;
  int host_changes = 0;
};

testing::Matcher<std::string> by_nft(const std::string& what) {
  return MatchesRegex("nft .pid [0-9]+. " + what + "; repaired in [0-9.]+ ms");
}
// The name is there as long as the process is; it may have ended before its notice was read.
testing::Matcher<std::string> by_ip(const std::string& what) {
  return AnyOf(HasSubstr(") " + what), HasSubstr("process " + what));
}

TEST(DriftNamespace, NoticesAndNamesEveryWriteToOurTables) {
  isolated([] {
    Keeper keeper;
    EXPECT_TRUE(keeper.watch->listens());
    EXPECT_THAT(keeper.events, IsEmpty()) << "our own commit is no news";
    EXPECT_THAT(keeper.after("nft flush ruleset"), Contains(by_nft("deleted table inet oceanid")));
    EXPECT_THAT(keeper.after("nft delete table inet oceanid"),
                Contains(by_nft("deleted table inet oceanid")));
    EXPECT_THAT(keeper.after("nft flush chain inet oceanid guard"),
                Contains(by_nft("deleted 1 rule of chain guard")));
    EXPECT_THAT(keeper.after("nft insert rule inet oceanid guard accept"),
                Contains(by_nft("added 1 rule to chain guard")));
    EXPECT_THAT(keeper.after("nft flush set inet oceanid few"),
                Contains(by_nft("deleted 2 elements of set few")));
    EXPECT_THAT(keeper.after("nft add element inet oceanid few '{ 192.0.2.3 }'"),
                Contains(by_nft("added 1 element to set few")));
  });
}

TEST(DriftNamespace, TablesOfOthersCostNothing) {
  isolated([] {
    Keeper keeper;
    shell(
        "nft add table ip kube-proxy; nft add chain ip kube-proxy services;"
        "nft add rule ip kube-proxy services accept; nft delete table ip kube-proxy");
    keeper.settle();
    EXPECT_THAT(keeper.events, IsEmpty());
    EXPECT_FALSE(keeper.watch->repair_at());
  });
}

TEST(DriftNamespace, PutsRulesRoutesAddressesAndMtusBackAndSaysWhatWasDone) {
  isolated([] {
    Keeper keeper;
    EXPECT_THAT(keeper.after("ip rule del pref 5150"), Contains(by_ip("deleted rule 5150: ")));
    EXPECT_THAT(keeper.after("ip rule flush protocol 131"), Contains(by_ip("deleted ")));
    EXPECT_THAT(keeper.after("ip route flush table 13128"), Contains(by_ip("deleted ")));
    EXPECT_THAT(keeper.after("ip route replace default dev oc-two metric 10 table 13128"),
                Contains(HasSubstr("changed route default dev oc-one table 13128 metric 10 to "
                                   "default dev oc-two table 13128 metric 10")));
    EXPECT_THAT(keeper.after("ip route add 128.0.0.0/1 dev oc-two table 13128"),
                Contains(by_ip("added route 128.0.0.0/1 dev oc-two table 13128")));
    EXPECT_THAT(keeper.after("ip address del 10.99.0.3/32 dev oc-one"),
                Contains(by_ip("deleted address 10.99.0.3/32 of oc-one")));
    EXPECT_THAT(keeper.after("ip link set oc-one mtu 1300"),
                Contains(HasSubstr("changed the MTU of oc-one from 1420 to 1300")));
    const auto counts = keeper.watch->summary().counts;
    EXPECT_GE(counts.all().size(), 4U) << "rule, route, address, link";
  });
}

// A ruleset that is put back while another program takes it away again and again.
TEST(DriftNamespace, AFightIsPacedAndNamed) {
  isolated([] {
    Keeper keeper;
    for (std::size_t i = 0; i < RepairPacer::burst; ++i) {
      shell("nft flush ruleset");
      const auto limit = DriftClock::now() + std::chrono::seconds(10);
      while (keeper.events.size() <= i && DriftClock::now() < limit)
        keeper.settle(std::chrono::milliseconds(20));
    }
    EXPECT_THAT(keeper.events, Contains(HasSubstr("and oceanid undo each other's work")));
    EXPECT_THAT(keeper.watch->summary().fight, HasSubstr("nft (pid "));
    shell("nft flush ruleset");
    keeper.settle(std::chrono::milliseconds(50));
    ASSERT_TRUE(keeper.watch->repair_at());
    keeper.settle(RepairPacer::first_pause * 3);
    EXPECT_THAT(shell("nft list ruleset"), HasSubstr("table inet oceanid"));
  });
}

}  // namespace
}  // namespace oceanid::routing
