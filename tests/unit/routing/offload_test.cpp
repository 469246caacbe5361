// The flowtable: what may be in it, when it is made anew, and what happens where the kernel has
// none.

#include "plan_inputs.hpp"
#include "reconciler_bench.hpp"
#include "tests/fakes/sample_state.hpp"

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(OffloadPlan, LiesBetweenPodsAndTunnelsOnly) {
  const std::string text = plan(examples::fast_worker()).offload;
  EXPECT_THAT(text, HasSubstr("devices = { \"cni0\", \"oc-tethys\", \"oc-meliae\" }; counter"));
  EXPECT_THAT(text, HasSubstr("iifname \"cni0\" oifname { \"oc-tethys\", \"oc-meliae\" } "));
  EXPECT_THAT(text, Not(HasSubstr("eth0")));
}

// The route of a packet in original direction is the one that was decided; that of the other one
// would be looked up by the device that the answer came in by, whatever exit is chosen by now.
TEST(OffloadPlan, TakesUpOnlyWhatWasLetPassInOriginalDirection) {
  EXPECT_THAT(
      plan(examples::fast_worker()).offload,
      HasSubstr("ct direction original ct status assured ct mark & 0x09000000 == 0x08000000 "
                "meta l4proto { tcp, udp } flow add"));
}

// The entry translates by itself, so what is not translated must not become one.
TEST(OffloadPlan, OfAnExitTakesUpOnlyWhatIsTranslated) {
  EXPECT_THAT(
      plan(examples::fast_exit()).offload,
      HasSubstr("    iifname { \"oc-hub\", \"cni0\" } oifname \"eth0\" ct direction original "
                "ct status assured ct status snat ct mark & 0x09000000 == 0x08000000 "));
}

TEST(OffloadPlan, OfAnExitLeavesPodsOutThatTakeAnotherOne) {
  Inputs in = examples::fast_exit();
  std::erase_if(in.exits, [](const ExitPath& exit) { return exit.self; });
  EXPECT_THAT(plan(in).offload, HasSubstr("    iifname \"oc-hub\" oifname \"eth0\" "));
}

TEST(OffloadPlan, OfAnExitAloneNeedsNoPods) {
  Inputs in = examples::exit_without_pods();
  EXPECT_EQ(plan(in).offload, "");
  in.fast = {{IfName::parse("oc-hub").value(), 11, FastDevice::Kind::hub, false}};
  EXPECT_EQ(plan(in).offload, "");
  in.fast.push_back({IfName::parse("eth0").value(), 2, FastDevice::Kind::uplink, false});
  EXPECT_THAT(plan(in).offload, HasSubstr("devices = { \"oc-hub\", \"eth0\" }"));
}

TEST(OffloadPlan, LeavesFramesThatWereCountedAlreadyToTheRules) {
  Inputs in = examples::fast_worker();
  in.fast[0].tracked = true;
  const std::string text = plan(in).offload;
  EXPECT_THAT(text, HasSubstr("devices = { \"oc-tethys\", \"oc-meliae\" }"));
  EXPECT_THAT(text, HasSubstr("iifname \"cni0\" "));
}

TEST(OffloadPlan, NeedsBothEnds) {
  for (const std::size_t left_out : {0U, 1U}) {
    Inputs in = examples::fast_worker();
    if (left_out == 0)
      in.fast.erase(in.fast.begin());
    else
      in.fast.resize(1);
    EXPECT_EQ(plan(in).offload, "");
  }
  Inputs without_pods = examples::fast_worker();
  without_pods.routing.reset();
  EXPECT_EQ(plan(without_pods).offload, "");
}

TEST(OffloadPlan, IsAnotherTextForADeviceThatWasMadeAnew) {
  Inputs in = examples::fast_worker();
  in.fast[1].index = 13;
  EXPECT_NE(plan(in).offload, plan(examples::fast_worker()).offload);
}

TEST(OffloadPlan, IsNoPartOfTheKillSwitch) {
  EXPECT_EQ(guard_plan(examples::fast_worker()).offload, "");
  EXPECT_EQ(plan(examples::fast_worker()).nft, plan(examples::styx()).nft)
      << "the rule set does not know of it";
}

NetworkState fast_state(std::string_view device = "oc-one") {
  NetworkState out = sample_state(device);
  out.offload = sample_offload("one");
  return out;
}

std::string last_step(const NetworkState& desired, const Actual& actual) {
  const Changes changes = diff(desired, actual);
  return changes.empty() ? "nothing" : describe(changes.steps.back());
}

constexpr const char* made_anew = "~ flowtable made anew: its connections are decided again";

TEST(OffloadDiff, ComesLastAndOnce) {
  const Changes changes = diff(fast_state(), Actual{});
  std::size_t found = 0;
  for (const Change& change : changes.steps)
    found += std::holds_alternative<ReplaceOffload>(change) ? 1 : 0;
  EXPECT_EQ(found, 1U);
  EXPECT_TRUE(std::holds_alternative<ReplaceOffload>(changes.steps.back()));
}

TEST(OffloadDiff, EveryChangeMakesItAnew) {
  const Actual actual = as_if_applied(fast_state());
  EXPECT_EQ(last_step(fast_state(), actual), "nothing");
  EXPECT_EQ(last_step(fast_state("oc-two"), actual), made_anew) << "a route";
  NetworkState other = fast_state();
  other.rules.pop_back();
  EXPECT_EQ(last_step(other, actual), made_anew) << "a rule";
  other = fast_state();
  other.nft.text = sample_nft("other");
  EXPECT_EQ(last_step(other, actual), made_anew) << "the rule set";
  other = fast_state();
  other.links.at(0).mtu = 1280;
  EXPECT_EQ(last_step(other, actual), made_anew)
      << "an MTU: an entry remembers the one it began with";
  NetworkState before = fast_state();
  NetworkState after = fast_state();
  before.nft.sets = {{"near4", Family::v4, {}}};
  after.nft.sets = {{"near4", Family::v4, {examples::prefix("192.0.2.0/24")}}};
  EXPECT_EQ(last_step(after, as_if_applied(before)), made_anew) << "an element of a set";
}

TEST(OffloadDiff, ASysctlDoesNot) {
  Actual actual = as_if_applied(fast_state());
  actual.sysctls["net/ipv4/conf/all/src_valid_mark"] = "0";
  EXPECT_THAT(last_step(fast_state(), actual), HasSubstr("src_valid_mark"));
}

TEST(OffloadDiff, GoesWhenItIsNotWantedAndComesBackWhenItIsGone) {
  EXPECT_EQ(last_step(sample_state(), as_if_applied(fast_state())),
            "- flowtable: every packet meets the rule set");
  EXPECT_EQ(last_step(fast_state(), as_if_applied(sample_state())),
            "+ flowtable: established connections skip the rule set");
  Actual unknown = as_if_applied(fast_state());
  unknown.offload.reset();
  EXPECT_EQ(last_step(fast_state(), unknown), made_anew) << "made by a former life";
}

class OffloadReconciler : public ReconcilerTest {
 protected:
  Result<ApplyReport> apply(NetworkState state) {
    kernel_.log.clear();
    return ReconcilerTest::apply(std::move(state));
  }
};

TEST_F(OffloadReconciler, IsEmptiedAfterASwitch) {
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_TRUE(reconciler_->offloads());
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_THAT(kernel_.log, IsEmpty());
  ASSERT_TRUE(apply(fast_state("oc-two")));
  EXPECT_THAT(kernel_.log, ElementsAre(HasSubstr("~ default dev oc-two"), "offload"));
}

TEST_F(OffloadReconciler, IsMadeAnewOnceAfterARestart) {
  ASSERT_TRUE(apply(fast_state()));
  restart();
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_THAT(kernel_.log, ElementsAre("nft", "offload"));
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_THAT(kernel_.log, IsEmpty());
}

TEST_F(OffloadReconciler, IsPutBackWhenSomebodyTookItAway) {
  ASSERT_TRUE(apply(fast_state()));
  kernel_.state.nft.offload = false;
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_THAT(kernel_.log, ElementsAre("offload"));
}

TEST_F(OffloadReconciler, AKernelWithoutItForwardsPlainly) {
  kernel_.failures = {{"offload", ENOENT}};
  const auto report = apply(fast_state());
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_TRUE(kernel_.state.nft.inet) << "everything else stands";
  EXPECT_FALSE(reconciler_->offloads());
  EXPECT_THAT(reconciler_->offload_error(), Not(IsEmpty()));
  const int runs = kernel_.nft_runs;
  ASSERT_TRUE(apply(fast_state("oc-two")));
  EXPECT_EQ(kernel_.nft_runs, runs) << "not asked again with every switch";
  kernel_.failures.clear();
  reconciler_->retry_offload();
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_TRUE(reconciler_->offloads());
  EXPECT_THAT(reconciler_->offload_error(), IsEmpty());
}

// Left standing it would hold connections that were decided before the change.
TEST_F(OffloadReconciler, OneThatCannotBeMadeAnewIsRemoved) {
  ASSERT_TRUE(apply(fast_state()));
  kernel_.failures = {{"offload", ENOENT}};
  ASSERT_TRUE(apply(fast_state("oc-two")));
  EXPECT_THAT(kernel_.log, ElementsAre(HasSubstr("oc-two"), "no flowtable"));
  EXPECT_FALSE(kernel_.state.nft.offload);
}

TEST_F(OffloadReconciler, OneThatCannotBeRemovedIsAnError) {
  ASSERT_TRUE(apply(fast_state()));
  kernel_.failures = {{"offload", ENOENT}, {"no flowtable", EPERM}};
  EXPECT_FALSE(apply(fast_state("oc-two")));
}

TEST_F(OffloadReconciler, AChangeThatGoesBackTakesItAway) {
  ASSERT_TRUE(apply(fast_state()));
  kernel_.failures = {{"- 5160", EPERM}};
  NetworkState next = fast_state("oc-two");
  std::erase_if(next.rules, [](const Rule& rule) { return rule.priority == 5160; });
  ASSERT_FALSE(apply(next));
  EXPECT_FALSE(kernel_.state.nft.offload);
  kernel_.failures.clear();
  ASSERT_TRUE(apply(fast_state()));
  EXPECT_THAT(kernel_.log, ElementsAre("offload"));
}

TEST_F(OffloadReconciler, DownRemovesIt) {
  ASSERT_TRUE(apply(fast_state()));
  restart();
  ASSERT_TRUE(down());
  EXPECT_FALSE(kernel_.state.nft.offload);
}

TEST_F(OffloadReconciler, PlanSaysNothingOfWhatStands) {
  ASSERT_TRUE(apply(fast_state()));
  restart();
  const auto text = ReconcilerTest::plan(fast_state());
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, Not(HasSubstr("flowtable")));
  const auto other = ReconcilerTest::plan(fast_state("oc-two"));
  ASSERT_TRUE(other);
  EXPECT_THAT(*other, HasSubstr("flowtable made anew"));
}

}  // namespace
}  // namespace oceanid::routing
