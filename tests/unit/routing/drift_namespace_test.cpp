// The watch over our kernel state against the real kernel, in namespaces of its own: other programs
// are `nft` and `ip` here as everywhere.

#include "routing/edge/drift_watch.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/fakes/sample_state.hpp"

#include <chrono>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <sys/socket.h>

namespace oceanid::routing {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
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
    watch = std::make_unique<DriftWatch>(
        io.get_executor(), *kernel, *reconciler,
        DriftWatch::Events{[this](auto&) { ++host_changes; }, [] {}}, lost_interval);
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
  // More notices than the sockets have room for, unread, and behind them a change of ours that
  // nobody is told of: one that is full takes nothing more until it has been read.
  static void lose_notices(const std::string& command) {
    constexpr int room = 1 << 16;
    for (int fd = 0; fd < 64; ++fd)
      ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    shell(
        "nft add table ip foreign; nft add set ip foreign s '{ type ipv4_addr; }';"
        "(echo 'add element ip foreign s { 10.1.0.0'; for i in $(seq 0 19); do"
        "  seq -f ,10.0.$i.%g 0 255; done; echo '}') | nft -f -;" +
        command + "; nft delete table ip foreign");
  }
  static bool has_few() { return shell("nft list set inet oceanid few").contains("192.0.2.2"); }
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

  static constexpr std::chrono::seconds lost_interval{4};
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

// Elements are in no stamp: a change whose notice was lost is repaired because the notice was.
TEST(DriftNamespace, LostNoticesLeadToTablesMadeAnewButNotAllTheTime) {
  isolated([] {
    Keeper keeper;
    const std::string harm = "nft delete element inet oceanid few '{ 192.0.2.2 }'";
    Keeper::lose_notices(harm);
    const auto first = DriftClock::now();
    keeper.settle();
    EXPECT_TRUE(Keeper::has_few());
    EXPECT_THAT(keeper.events, Contains(HasSubstr("repaired by an audit"))) << "nobody was named";
    Keeper::lose_notices(harm);
    keeper.settle(std::chrono::milliseconds(100));
    EXPECT_FALSE(Keeper::has_few()) << "they are made anew once in a while only";
    ASSERT_LT(DriftClock::now() - first, Keeper::lost_interval) << "this machine is too slow";
    keeper.settle(Keeper::lost_interval);
    EXPECT_TRUE(Keeper::has_few());
    EXPECT_FALSE(keeper.watch->repair_at());
  });
}

// Nobody is told of a sysctl that no netconf notice is about.
TEST(DriftNamespace, AnAuditFindsWhatNoNoticeTold) {
  isolated([] {
    Keeper keeper;
    shell("sysctl -qw net.ipv4.conf.all.src_valid_mark=0");
    keeper.settle();
    EXPECT_EQ(shell("sysctl -n net.ipv4.conf.all.src_valid_mark"), "0\n");
    EXPECT_THAT(keeper.events, IsEmpty());
    keeper.apply();
    EXPECT_EQ(shell("sysctl -n net.ipv4.conf.all.src_valid_mark"), "1\n");
    EXPECT_THAT(keeper.events, ElementsAre(AllOf(HasSubstr("src_valid_mark=1 to 0"),
                                                 HasSubstr("repaired by an audit"))));
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
