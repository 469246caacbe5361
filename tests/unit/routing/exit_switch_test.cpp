// The exit is switched while an apply() waits for the nft program: at once, whatever else that
// apply() has still to do, and for good.

#include "reconciler_bench.hpp"
#include "tests/fakes/sample_state.hpp"

#include <utility>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::uint32_t egress = 13128;

// Both exits have a table of their own, as in every plan.
NetworkState two_exits(std::string_view exit, std::string_view nft = "kill switch") {
  NetworkState out = sample_state(exit);
  out.routes.push_back(open_default(Family::v4, 13130, "oc-two"));
  out.routes.push_back(closed_default(Family::v4, 13130));
  out.nft.text = sample_nft(nft);
  return out;
}

NetworkState without_exit(std::string_view nft = "kill switch") {
  NetworkState out = two_exits("oc-one", nft);
  std::erase(out.routes, open_default(Family::v4, egress, "oc-one"));
  return out;
}

class ExitSwitch : public ReconcilerTest {
 protected:
  // Asks for the switch while nft runs for the `number`-th time from now, and notes what the egress
  // table has then.
  void switch_during_run(NetworkState to, int number = 1) {
    kernel_.while_nft_runs = [this, to = std::move(to), left = number]() mutable {
      if (--left != 0) return;
      known_ = reconciler_->leaves_by(*IfName::parse(egress_default()), egress);
      switched_ = reconciler_->switch_exit(to, egress);
      during_ = egress_default();
    };
  }
  std::string egress_default() const {
    for (const Route& route : kernel_.state.routes)
      if (route.table == egress && route.type == RouteType::unicast) return route.device->str();
    return "none";
  }

  bool known_ = false;  // the exit that the egress table had then was known to be in use
  bool switched_ = false;
  std::string during_;
};

TEST_F(ExitSwitch, DoesNotWaitForNft) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  switch_during_run(two_exits("oc-two", "next"));
  kernel_.log.clear();
  const auto report = apply(two_exits("oc-one", "next"));
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(switched_);
  EXPECT_TRUE(report->overtaken);
  EXPECT_EQ(during_, "oc-two");
  EXPECT_EQ(egress_default(), "oc-two") << "the apply under way must not put the former one back";
  EXPECT_THAT(kernel_.log, ElementsAre(HasSubstr("~ default dev oc-two table 13128"), "nft"));
  const auto next = apply(two_exits("oc-two", "next"));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->changes, 0U);
  EXPECT_THAT(next->drift, IsEmpty()) << "it was nobody else";
}

// Steps behind nft were computed with the former exit; they are all done, but for its route.
TEST_F(ExitSwitch, LosesNothingOfWhatWasStillToBeDone) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  std::erase(kernel_.state.routes, open_default(Family::v4, egress, "oc-one"));
  kernel_.state.routes.push_back(open_default(Family::v4, egress, "oc-three"));
  NetworkState next = two_exits("oc-one", "next");
  next.rules.push_back(rule(5145, Lookup{13129}));
  next.sysctls.push_back({"net/ipv4/ip_forward", "1", false});
  kernel_.sysctls["net/ipv4/ip_forward"] = "0";
  switch_during_run(two_exits("oc-two", "next"));
  kernel_.log.clear();
  ASSERT_TRUE(apply(next));
  EXPECT_EQ(during_, "oc-two");
  EXPECT_EQ(egress_default(), "oc-two");
  EXPECT_THAT(kernel_.log, Not(Contains(HasSubstr("default dev oc-one"))));
  EXPECT_THAT(kernel_.state.rules, Contains(rule(5145, Lookup{13129})));
  EXPECT_EQ(kernel_.sysctls["net/ipv4/ip_forward"], "1");
}

TEST_F(ExitSwitch, StaysWhenTheApplyUnderWayIsRolledBack) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  switch_during_run(two_exits("oc-two", "next"));
  kernel_.failures = {{"nft", EPERM}};
  ASSERT_FALSE(apply(two_exits("oc-one", "next")));
  EXPECT_EQ(egress_default(), "oc-two");
  kernel_.failures.clear();
  kernel_.while_nft_runs = {};
  const auto back = apply(two_exits("oc-one"));
  ASSERT_TRUE(back);
  EXPECT_EQ(egress_default(), "oc-one");
  EXPECT_THAT(back->drift, IsEmpty()) << "it was nobody else";
}

// The apply() had moved the route itself, to an exit that was then lost while the flowtable was
// made: taking that back would lead to the one before.
TEST_F(ExitSwitch, IsNotUndoneWithAnEarlierStepOfTheApplyThatIsRolledBack) {
  kernel_.add_link("oc-three");
  const auto three = [](std::string_view exit) {
    NetworkState out = two_exits(exit);
    out.routes.push_back(open_default(Family::v4, 13132, "oc-three"));
    out.routes.push_back(closed_default(Family::v4, 13132));
    out.offload = sample_offload("one");
    return out;
  };
  ASSERT_TRUE(apply(three("oc-three")));
  NetworkState next = three("oc-one");
  next.offload = sample_offload("two");
  kernel_.failures = {{"offload", EPERM}, {"no flowtable", EPERM}};
  switch_during_run(three("oc-two"));
  ASSERT_FALSE(apply(next));
  EXPECT_TRUE(known_) << "it was there before the apply() was over";
  EXPECT_EQ(during_, "oc-two");
  EXPECT_EQ(egress_default(), "oc-two");
}

// What was taken up before the switch goes by the exit that was left.
TEST_F(ExitSwitch, EmptiesTheFlowtable) {
  const auto fast = [](std::string_view exit, std::string_view nft) {
    NetworkState out = two_exits(exit, nft);
    out.offload = sample_offload("one");
    return out;
  };
  ASSERT_TRUE(apply(fast("oc-one", "first")));
  // Run 1 is the rules, run 2 the flowtable, which the rules' change makes anew: the switch comes
  // while its child may have committed already.
  switch_during_run(fast("oc-two", "next"), 2);
  kernel_.log.clear();
  ASSERT_TRUE(apply(fast("oc-one", "next")));
  EXPECT_THAT(kernel_.log, ElementsAre("nft", HasSubstr("~ default dev oc-two table 13128"),
                                       "offload", "offload"));
  const int runs = kernel_.nft_runs;
  ASSERT_TRUE(apply(fast("oc-two", "next")));
  EXPECT_EQ(kernel_.nft_runs, runs);
}

TEST_F(ExitSwitch, ClosesAtOnceButOpensNothing) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  switch_during_run(without_exit("next"));
  ASSERT_TRUE(apply(two_exits("oc-one", "next")));
  EXPECT_EQ(during_, "none");
  EXPECT_EQ(egress_default(), "none");
  switch_during_run(two_exits("oc-two", "third"));
  ASSERT_TRUE(apply(without_exit("third")));
  EXPECT_FALSE(switched_);
  EXPECT_EQ(egress_default(), "none") << "opening comes behind the guard";
}

// Whether the guard knows the device is certain only where both states have it as an exit.
TEST_F(ExitSwitch, LeadsOnlyToAnExitOfTheStateInForceAndOfTheOneUnderWay) {
  NetworkState one = two_exits("oc-one", "next");
  std::erase(one.routes, open_default(Family::v4, 13130, "oc-two"));
  const auto refused = [&](const NetworkState& in_force, const NetworkState& under_way) {
    kernel_.while_nft_runs = {};
    ASSERT_TRUE(apply(in_force));
    switch_during_run(two_exits("oc-two", "next"));
    ASSERT_TRUE(apply(under_way));
    EXPECT_EQ(during_, "oc-one");
    EXPECT_FALSE(switched_);
  };
  refused(two_exits("oc-one"), one);
  refused(one, two_exits("oc-one", "third"));
  kernel_.while_nft_runs = {};
  ASSERT_TRUE(apply(two_exits("oc-one")));
  EXPECT_FALSE(reconciler_->switch_exit(two_exits("oc-two"), egress)) << "nothing is under way";
  restart();
  switch_during_run(two_exits("oc-two", "next"));
  ASSERT_TRUE(apply(two_exits("oc-one", "next")));
  EXPECT_FALSE(switched_) << "what a former life left is not known";
}

// Somebody has decided already, and waits for nft: what counts is the route that stands.
TEST_F(ExitSwitch, IsStillToBeMadeWhenTheApplyThatWouldMakeItWaitsItsTurn) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  const IfName one = *IfName::parse("oc-one");
  const IfName two = *IfName::parse("oc-two");
  bool asked = false;
  kernel_.while_nft_runs = [&] {
    if (std::exchange(asked, true)) return;
    asio::co_spawn(
        io_, reconciler_->apply(two_exits("oc-two", "next")),
        [](std::exception_ptr, const Result<ApplyReport>& report) { EXPECT_TRUE(report); });
    io_.poll_one();
    EXPECT_TRUE(reconciler_->leaves_by(one, egress));
    EXPECT_FALSE(reconciler_->leaves_by(two, egress));
    EXPECT_TRUE(reconciler_->switch_exit(two_exits("oc-two", "next"), egress));
    EXPECT_EQ(egress_default(), "oc-two");
    EXPECT_FALSE(reconciler_->leaves_by(one, egress));
    EXPECT_TRUE(reconciler_->leaves_by(two, egress));
  };
  ASSERT_TRUE(apply(two_exits("oc-one", "next")));
  EXPECT_TRUE(asked);
  EXPECT_FALSE(reconciler_->leaves_by(one, egress));
}

// Asked for before the switch, carried out behind the one under way.
TEST_F(ExitSwitch, HoldsForTheApplyThatWaitsItsTurn) {
  ASSERT_TRUE(apply(two_exits("oc-one")));
  std::vector<std::string> told;
  switch_during_run(two_exits("oc-two", "next"));
  const auto task = [&](std::string_view nft) {
    asio::co_spawn(io_, reconciler_->apply(two_exits("oc-one", nft)),
                   [&](std::exception_ptr, Result<ApplyReport> report) {
                     ASSERT_TRUE(report);
                     told.push_back(egress_default());
                   });
  };
  // The second one is asked for while the first one runs nft.
  kernel_.while_nft_runs = [&, inner = kernel_.while_nft_runs, first = true]() mutable {
    if (std::exchange(first, false)) {
      task("third");
      io_.poll_one();
    }
    inner();
  };
  task("next");
  io_.restart();
  io_.run();
  EXPECT_THAT(told, ElementsAre("oc-two", "oc-two"));
  EXPECT_THAT(kernel_.log, Not(Contains(HasSubstr("~ default dev oc-one table 13128"))));
}

}  // namespace
}  // namespace oceanid::routing
