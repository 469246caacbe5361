// What counts as drift, who is named for it, and when it may be repaired.

#include "routing/core/drift.hpp"

#include "routing/edge/nft_watcher.hpp"
#include "routing/edge/reconciler.hpp"
#include "tests/fakes/fake_kernel.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/fakes/sample_state.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class DriftTest : public testing::Test {
 protected:
  DriftTest() {
    for (const char* name : {"oc-one", "oc-two"})
      kernel_.add_link(name, /*up=*/false);
    kernel_.sysctls = {{"net/ipv4/conf/all/src_valid_mark", "0"},
                       {"net/ipv4/conf/oc-one/rp_filter", "0"}};
    EXPECT_THAT(apply(), IsEmpty()) << "what was never ours is no drift";
  }
  std::vector<std::string> apply(const NetworkState& state = sample_state()) {
    const auto report = run_task(io_, reconciler_.apply(state));
    EXPECT_TRUE(report) << report.error().what;
    std::vector<std::string> out;
    if (!report) return out;
    for (const Drift& drift : report->drift)
      out.push_back(fmt::format("{} {}", to_string(drift.kind), drift.what));
    drifts_ = report->drift;
    return out;
  }

  asio::io_context io_;
  TemporaryDirectory directory_;
  FakeKernel kernel_;
  Reconciler reconciler_{io_.get_executor(), kernel_, directory_.path};
  std::vector<Drift> drifts_;
};

TEST_F(DriftTest, NamesWhatOthersTookAway) {
  std::erase_if(kernel_.state.rules, [](const Rule& rule) { return rule.priority == 5150; });
  std::erase_if(kernel_.state.routes, [](const Route& route) { return route.table == 13131; });
  kernel_.state.links[0].addresses.clear();
  kernel_.state.links[1].mtu = 1300;
  kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"] = "1";
  EXPECT_THAT(apply(), ElementsAre("sysctl net.ipv4.conf.oc-one.rp_filter=2 to 1",
                                   "address address 10.99.0.3/32 of oc-one",
                                   "link the MTU of oc-two from 1400 to 1300",
                                   "route route 10.42.7.0/24 dev oc-two table 13131 mtu 1380",
                                   "rule rule 5150: from 10.42.1.0/24 iif cni0 lookup 13128"));
  EXPECT_THAT(apply(), IsEmpty());
}

TEST_F(DriftTest, OurOwnChangeOfMindIsNone) {
  NetworkState other = sample_state("oc-two");
  other.rules.pop_back();
  other.links[0].mtu = 1380;
  other.nft.text = sample_nft("another");
  other.sysctls[1].value = "0";
  EXPECT_THAT(apply(other), IsEmpty());
  EXPECT_THAT(apply(), IsEmpty());
}

TEST_F(DriftTest, WhatOthersAddGoesAgain) {
  Route half = open_default(Family::v4, 13128, "oc-two");
  half.destination = prefix("0.0.0.0/1");
  kernel_.foreign.push_back(half);
  Route elsewhere = half;
  elsewhere.table = 52;
  kernel_.foreign.push_back(elsewhere);
  EXPECT_THAT(apply(), ElementsAre(HasSubstr("route 0.0.0.0/1 dev oc-two table 13128")));
  EXPECT_THAT(kernel_.foreign, ElementsAre(elsewhere)) << "tables of others are not ours to tidy";
}

TEST_F(DriftTest, AForeignDefaultInPlaceOfOursIsReplacedInOneStep) {
  const Route ours = open_default(Family::v4, 13128, "oc-one");
  std::erase(kernel_.state.routes, ours);
  Route theirs = ours;
  theirs.device = device("eth0");
  kernel_.foreign.push_back(theirs);
  kernel_.log.clear();
  EXPECT_THAT(apply(),
              ElementsAre(HasSubstr("dev oc-one table 13128 metric 10 to default dev eth0")));
  EXPECT_THAT(kernel_.log, ElementsAre(HasSubstr("~ default dev oc-one table 13128")));
}

TEST_F(DriftTest, ALinkThatGoesIsToldOnceAndItsReturnIsNone) {
  const LinkActual gone = kernel_.state.links[1];
  kernel_.state.links.pop_back();
  std::erase_if(kernel_.state.routes,
                [&](const Route& route) { return route.device == gone.name; });
  EXPECT_THAT(apply(), ElementsAre("link link oc-two"));
  EXPECT_THAT(apply(), IsEmpty());
  kernel_.add_link("oc-two", /*up=*/false);
  EXPECT_THAT(apply(), IsEmpty());
  EXPECT_EQ(kernel_.state.links[1].mtu, gone.mtu);
  EXPECT_THAT(kernel_.dump(), HasSubstr("10.42.7.0/24 dev oc-two table 13131"));
}

TEST_F(DriftTest, ALinkThatWasMadeAnewMeanwhileIsFurnishedAgainWithoutAWord) {
  LinkActual& link = kernel_.state.links[0];
  link = {link.name, false, 1500, {}, 99};
  std::erase_if(kernel_.state.routes,
                [&](const Route& route) { return route.device == link.name; });
  kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"] = "0";
  EXPECT_THAT(apply(), IsEmpty());
  EXPECT_EQ(kernel_.state.links[0].mtu, 1420U);
  kernel_.state.links[0].mtu = 1500;
  EXPECT_THAT(apply(), ElementsAre(HasSubstr("the MTU of oc-one")));
}

TEST_F(DriftTest, TablesThatOthersWroteToAreMadeAnew) {
  const int runs = kernel_.nft_runs;
  reconciler_.distrust_nft();
  EXPECT_THAT(apply(), ElementsAre("nft the nft tables of oceanid"));
  EXPECT_EQ(kernel_.nft_runs, runs + 1);
  EXPECT_THAT(apply(), IsEmpty());
  EXPECT_EQ(kernel_.nft_runs, runs + 1);
}

TEST_F(DriftTest, AFailedRepairKeepsTheDriftForTheNext) {
  std::erase_if(kernel_.state.rules, [](const Rule& rule) { return rule.priority == 5150; });
  reconciler_.distrust_nft();
  kernel_.failures = {{"nft", EPERM}};
  EXPECT_FALSE(run_task(io_, reconciler_.apply(sample_state())));
  kernel_.failures.clear();
  EXPECT_THAT(apply(), ElementsAre(HasSubstr("nft"), HasSubstr("rule 5150")));
}

TEST_F(DriftTest, ARouteThatTheKernelRefusesIsNobodysFault) {
  NetworkState state = sample_state();
  Route six = open_default(Family::v6, 13129, "oc-one");
  state.routes.push_back(six);
  kernel_.failures = {{"default dev oc-one table 13129 metric 10 (ipv6)", EACCES}};
  EXPECT_THAT(apply(state), IsEmpty());
  EXPECT_THAT(apply(state), IsEmpty());
}

TEST(Incidents, NameTheCulpritByTheObjectElseByTheKind) {
  const auto at = DriftClock::time_point{} + 1s;
  const Rule one = rule(5100, Nop{});
  const Rule two = rule(5101, Nop{});
  const Rule other = rule(5102, Nop{});
  std::vector<Drift> drifts;
  for (const Rule& gone : {one, two, other})
    drifts.push_back({DriftKind::rule, Deed::deleted, "rule " + to_string(gone), object_of(gone)});
  drifts.push_back({DriftKind::nft, Deed::changed, "the nft tables of oceanid", {}});
  drifts.push_back({DriftKind::sysctl, Deed::changed, "net.ipv4.ip_forward=1 to 0", "x"});
  const std::vector<Sign> signs{
      {DriftKind::rule, object_of(other), {"ip", 7}, {}, at + 3ms},
      {DriftKind::rule, object_of(one), {"systemd-network", 9}, {}, at + 2ms},
      {DriftKind::rule, object_of(two), {"systemd-network", 9}, {}, at + 1ms},
      {DriftKind::nft, {}, {"nft", 123}, "deleted table inet oceanid", at}};
  std::vector<std::string> told;
  for (const Incident& incident : incidents(drifts, signs))
    told.push_back(describe(incident, 12ms));
  EXPECT_THAT(
      told,
      ElementsAre("systemd-network (pid 9) deleted 2 rules (first: rule 5100: from all nop); "
                  "repaired in 12.0 ms",
                  "ip (pid 7) deleted rule 5102: from all nop; repaired in 12.0 ms",
                  "nft (pid 123) deleted table inet oceanid; repaired in 12.0 ms",
                  "an unknown process changed net.ipv4.ip_forward=1 to 0; repaired in 12.0 ms"));
  EXPECT_EQ(incidents(drifts, signs).front().since, at + 1ms);
}

TEST(DriftCounts, AreBoundedWhateverTheProcessesAreCalled) {
  DriftCounts counts;
  for (int i = 0; i < 100; ++i)
    counts.count({DriftKind::nft, {fmt::format("tool{}", i), 1}, {}, {}});
  counts.count({DriftKind::nft, {"tool3", 1}, {}, {}});
  counts.count({DriftKind::nft, {}, {}, {}});
  EXPECT_EQ(counts.all().size(), DriftCounts::most_culprits + 2);
  EXPECT_EQ(counts.all().at({DriftKind::nft, "other"}), 100 - DriftCounts::most_culprits);
  EXPECT_EQ(counts.all().at({DriftKind::nft, "tool3"}), 2U);
  EXPECT_EQ(counts.all().at({DriftKind::nft, "unknown"}), 1U);
}

TEST(RepairPacer, IsImmediateUntilSomebodyFights) {
  RepairPacer pacer;
  auto now = DriftClock::time_point{} + 1h;
  EXPECT_EQ(pacer.next(now), now);
  std::vector<std::chrono::milliseconds> waits;
  for (int i = 0; i < 16; ++i) {
    pacer.repaired(now);
    waits.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(pacer.next(now) - now));
    now = pacer.next(now);
  }
  EXPECT_EQ(waits[8], RepairPacer::gap);
  EXPECT_EQ(waits[9], 250ms);
  EXPECT_EQ(waits[10], 500ms);
  EXPECT_EQ(waits[15], RepairPacer::longest_pause);
  EXPECT_TRUE(pacer.fighting(now));
  now += RepairPacer::window * 2;
  EXPECT_FALSE(pacer.fighting(now));
  EXPECT_EQ(pacer.next(now), now);
}

TEST(NftTouches, TellTheLargestThing) {
  std::vector<NftTouch> touches;
  for (int i = 0; i < 5; ++i)
    merge(touches, {false, NftObject::rule, "inet oceanid", "guard", 1});
  EXPECT_EQ(describe(touches), "deleted 5 rules of chain guard");
  merge(touches, {false, NftObject::rule, "inet oceanid", "mss", 1});
  EXPECT_EQ(describe(touches), "deleted 6 rules of 2 chains");
  merge(touches, {false, NftObject::table, "inet oceanid", "inet oceanid", 1});
  EXPECT_EQ(describe(touches), "deleted table inet oceanid");
  merge(touches, {true, NftObject::table, "inet oceanid", "inet oceanid", 1});
  EXPECT_EQ(describe(touches), "replaced table inet oceanid");
  EXPECT_EQ(describe({{true, NftObject::element, "inet oceanid", "near4", 3}}),
            "added 3 elements to set near4");
  EXPECT_FALSE(is_our_table("oceanidx"));
  EXPECT_TRUE(is_our_table("oceanid_nat"));
}

TEST(NftWriters, KnowOurChildrenByEitherNumberAndOnce) {
  NftWriters writers({77});
  const DriftClock::time_point now;
  writers.started(500, now);
  NftCommit commit{.generation = 1, .port = 500, .culprit = {"nft", 90500}, .touches = {}};
  EXPECT_TRUE(writers.wrote(commit, now)) << "a container counts its own processes";
  EXPECT_FALSE(writers.wrote(commit, now)) << "a child commits once";
  writers.started(501, now);
  commit = {.generation = 2, .port = 0x80000001, .culprit = {"nft", 501}, .touches = {}};
  EXPECT_TRUE(writers.wrote(commit, now)) << "its port was taken";
  writers.started(502, now);
  commit.culprit.pid = 502;
  EXPECT_FALSE(writers.wrote(commit, now + NftWriters::memory + 1s)) << "another has that number";
  commit.port = 77;
  EXPECT_TRUE(writers.wrote(commit, now)) << "our own socket, any number of times";
  EXPECT_TRUE(writers.wrote(commit, now));
}

}  // namespace
}  // namespace oceanid::routing
