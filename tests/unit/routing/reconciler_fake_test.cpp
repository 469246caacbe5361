#include "reconciler_bench.hpp"
#include "tests/fakes/sample_state.hpp"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string sorted(const std::string& text) {
  std::istringstream in(text);
  std::multiset<std::string> lines;
  for (std::string line; std::getline(in, line);)
    lines.insert(line);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

TEST_F(ReconcilerTest, AppliesAndThenHasNothingToDo) {
  const auto first = apply(sample_state());
  ASSERT_TRUE(first) << first.error().what;
  EXPECT_TRUE(first->nft);
  EXPECT_EQ(first->changes, 22U);
  kernel_.log.clear();
  const auto second = apply(sample_state());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->changes, 0U);
  EXPECT_FALSE(second->nft);
  EXPECT_THAT(kernel_.log, ElementsAre());
  EXPECT_EQ(kernel_.nft_runs, 1);
}

TEST_F(ReconcilerTest, SwitchesTheExitWithOneMessageAndNoChild) {
  ASSERT_TRUE(apply(sample_state("oc-one")));
  kernel_.log.clear();
  const auto report = apply(sample_state("oc-two"));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->changes, 1U);
  EXPECT_THAT(kernel_.log, ElementsAre(HasSubstr("~ default dev oc-two table 13128")));
  EXPECT_EQ(kernel_.nft_runs, 1);
}

TEST_F(ReconcilerTest, RunsNftAgainWhenSomebodyFlushedIt) {
  ASSERT_TRUE(apply(sample_state()));
  kernel_.state.nft = {.known = true, .stamp = 99};
  const auto report = apply(sample_state());
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->nft);
  // made anew by somebody else: the stamp differs
  kernel_.state.nft.stamp = 1234;
  EXPECT_TRUE(apply(sample_state())->nft);
  EXPECT_FALSE(apply(sample_state())->nft);
}

TEST_F(ReconcilerTest, RunsNftOnceAfterARestart) {
  ASSERT_TRUE(apply(sample_state()));
  restart();
  EXPECT_TRUE(apply(sample_state())->nft);
  EXPECT_FALSE(apply(sample_state())->nft);
}

// Whichever step fails, the kernel is afterwards as it was before.
TEST_F(ReconcilerTest, RollsBackWhateverStepFails) {
  const std::string before = kernel_.dump();
  for (const char* failing :
       {"+ unreachable default table 13129", "nft", "src_valid_mark", "oc-one address", "oc-two up",
        "+ default dev oc-one table 13128", "+ 5190", "+ 5110", "+ 5160"}) {
    kernel_.failures = {{failing, EPERM}};
    const auto report = apply(sample_state());
    ASSERT_FALSE(report) << failing;
    EXPECT_EQ(kernel_.dump(), before) << failing;
    EXPECT_THAT(report.error().what, HasSubstr("nothing was changed")) << failing;
    EXPECT_EQ(report.error().code, Errc::permission);
    EXPECT_FALSE(std::filesystem::exists(directory_.path + "/sysctls.json")) << failing;
  }
  kernel_.failures.clear();
  EXPECT_TRUE(apply(sample_state()));
}

TEST_F(ReconcilerTest, TellsTheKernelAtOnceWhatNeedsNoOrder) {
  NetworkState state = sample_state();
  for (std::uint32_t i = 0; i < 100; ++i) {
    Rule bypass = rule(5120, Goto{5190});
    bypass.to = Prefix::host(IpAddress::v4({192, 0, 2, static_cast<std::uint8_t>(i)}));
    state.rules.push_back(bypass);
  }
  ASSERT_TRUE(apply(state));
  EXPECT_THAT(kernel_.together, testing::Contains(102U)) << "every goto";
  EXPECT_LT(kernel_.together.size(), 20U);
  const std::string before = kernel_.dump();
  NetworkState next = sample_state();
  next.nft.text = sample_nft("next");
  kernel_.failures = {{"192.0.2.40", EPERM}};
  const auto report = apply(next);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().what, HasSubstr("nothing was changed"));
  EXPECT_EQ(sorted(kernel_.dump()), sorted(before)) << "what came behind the refused one, too";
}

TEST_F(ReconcilerTest, RollsAFailedReloadBackToWhatRan) {
  ASSERT_TRUE(apply(sample_state("oc-one")));
  const std::string before = kernel_.dump();
  NetworkState next = sample_state("oc-two");
  next.nft.text = sample_nft("next");
  std::erase_if(next.rules, [](const Rule& rule) { return rule.priority == 5110; });
  kernel_.failures = {{"- 5110", EPERM}};
  const auto report = apply(next);
  ASSERT_FALSE(report);
  EXPECT_EQ(kernel_.dump(), before);
  kernel_.failures.clear();
  EXPECT_FALSE(apply(sample_state("oc-one"))->nft) << "the old text is in force again and known";
}

TEST_F(ReconcilerTest, SaysWhatCouldNotBeUndone) {
  kernel_.failures = {{"+ 5160", EPERM}, {"- 5150", EPERM}};
  const auto report = apply(sample_state());
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().what, HasSubstr("not undone: - 5150"));
}

TEST_F(ReconcilerTest, SkipsARouteWhoseDeviceVanishesBetweenReadingAndWriting) {
  ASSERT_TRUE(apply(sample_state("oc-one")));
  kernel_.failures = {{"~ default dev oc-two", ENODEV}};
  const auto report = apply(sample_state("oc-two"));
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(report->skipped, ElementsAre(HasSubstr("default dev oc-two")));
  EXPECT_THAT(kernel_.dump(), testing::Not(HasSubstr("default dev oc-one table 13128")))
      << "the exit that is no longer wanted must not carry on";
}

TEST_F(ReconcilerTest, SkipsAnIpv6RouteByADeviceThatHasNoIpv6) {
  NetworkState state = sample_state();
  state.routes.push_back(open_default(Family::v6, 13128, "oc-one"));
  kernel_.failures = {{"+ default dev oc-one table 13128 metric 10 (ipv6)", EACCES}};
  const auto report = apply(state);
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(report->skipped, ElementsAre(HasSubstr("(ipv6)")));
  EXPECT_THAT(kernel_.dump(),
              HasSubstr("unreachable default table 13128 metric 4294967295 (ipv6)"));
}

TEST_F(ReconcilerTest, NamesTheCommandForARequiredSysctlThatCannotBeWritten) {
  kernel_.failures = {{"src_valid_mark", EROFS}};
  const auto report = apply(sample_state());
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().what, HasSubstr("sysctl -w net.ipv4.conf.all.src_valid_mark=1"));
  kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"] = "1";
  EXPECT_TRUE(apply(sample_state())) << "no error when the value is right already";
}

TEST_F(ReconcilerTest, OnlyWarnsOfASysctlThatIsNotRequired) {
  NetworkState state = sample_state();
  state.sysctls.front().required = false;
  kernel_.failures = {{"src_valid_mark", EROFS}};
  const auto report = apply(state);
  ASSERT_TRUE(report);
  EXPECT_THAT(report->warnings, ElementsAre(HasSubstr("sysctl -w")));
}

TEST_F(ReconcilerTest, DownGivesBackWhatWasThere) {
  const auto links = kernel_.state.links;
  const std::string before = kernel_.dump();
  ASSERT_TRUE(apply(sample_state()));
  restart();
  const auto report = down();
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(report->kept, ElementsAre());
  kernel_.state.links = links;  // the tunnel side's
  EXPECT_EQ(kernel_.dump(), before);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path));
  EXPECT_EQ(down()->changes, 0U);
}

TEST_F(ReconcilerTest, DownLeavesAValueThatSomebodyChangedSince) {
  ASSERT_TRUE(apply(sample_state()));
  kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"] = "1";
  const auto report = down();
  ASSERT_TRUE(report);
  EXPECT_THAT(report->kept, ElementsAre(HasSubstr("changed by somebody else")));
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"], "1");
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"], "0");
}

TEST_F(ReconcilerTest, DownLeavesAValueThatWasRightBeforeUs) {
  kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"] = "1";
  ASSERT_TRUE(apply(sample_state()));
  ASSERT_TRUE(down());
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"], "1");
}

TEST_F(ReconcilerTest, DownForgetsValuesOfAnotherBoot) {
  ASSERT_TRUE(apply(sample_state()));
  const auto file = directory_.path + "/sysctls.json";
  std::ofstream(file) << R"({"boot_id":"another","entries":{"net/ipv4/conf/all/src_valid_mark":)"
                      << R"({"former":"0","written":"1"}}})";
  ASSERT_TRUE(down());
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"], "1");
}

// What only `down` needs must never keep the kill switch away.
TEST_F(ReconcilerTest, AppliesWhenTheMemoryOfSysctlsIsDamaged) {
  const auto file = directory_.path + "/sysctls.json";
  std::ofstream(file) << R"({"boot_id":"th)";
  const auto report = apply(sample_state());
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(report->warnings, ElementsAre(HasSubstr("is damaged")));
  EXPECT_TRUE(kernel_.state.nft.inet);
  EXPECT_TRUE(std::filesystem::exists(file + ".damaged"));
  EXPECT_THAT(apply(sample_state())->warnings, ElementsAre());
  ASSERT_TRUE(down());
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"], "0") << "remembered anew";
}

TEST_F(ReconcilerTest, AppliesWhenNothingCanBeWrittenToDisk) {
  Reconciler reconciler(io_.get_executor(), kernel_, "/proc/oceanid");
  const auto report = run_task(io_, reconciler.apply(sample_state()));
  ASSERT_TRUE(report) << report.error().what;
  EXPECT_THAT(report->warnings, ElementsAre(HasSubstr("former values")));
  EXPECT_TRUE(kernel_.state.nft.inet);
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"], "2");
}

// A damaged file that came while we ran, and a failure after it: still nothing but what was there.
TEST_F(ReconcilerTest, RollsBackWithADamagedMemoryOfSysctls) {
  const std::string before = kernel_.dump();
  std::ofstream(directory_.path + "/sysctls.json") << "[]";
  kernel_.failures = {{"+ 5160", EPERM}};
  EXPECT_FALSE(apply(sample_state()));
  EXPECT_EQ(kernel_.dump(), before);
  EXPECT_FALSE(std::filesystem::exists(directory_.path + "/sysctls.json"));
}

TEST_F(ReconcilerTest, DownKeepsForwardingForACniAndOnlyThen) {
  for (const bool cni : {true, false}) {
    kernel_.sysctls["net/ipv4/ip_forward"] = "0";
    kernel_.host.links.clear();
    LinkFacts bridge;
    bridge.name = device("cni0");
    bridge.up = true;
    bridge.kind = "bridge";
    if (cni) kernel_.host.links = {bridge};
    NetworkState state = sample_state();
    state.sysctls.push_back({"net/ipv4/ip_forward", "1", true});
    ASSERT_TRUE(apply(state));
    const auto report = down();
    ASSERT_TRUE(report);
    EXPECT_EQ(kernel_.sysctls["net/ipv4/ip_forward"], cni ? "1" : "0");
    EXPECT_EQ(report->kept.size(), cni ? 1U : 0U);
  }
}

constexpr const char* forwarding6 = "net/ipv6/conf/all/forwarding";
constexpr const char* hearing = "net/ipv6/conf/eth0/accept_ra";

NetworkState forwarding_state() {
  NetworkState state = sample_state();
  state.sysctls.push_back({hearing, "2", false, "1"});
  state.sysctls.push_back({forwarding6, "1"});
  return state;
}

TEST_F(ReconcilerTest, RoutersAreStillHeardWhereTheyWereBefore) {
  for (const std::string before : {"0", "1", "2"}) {
    kernel_.sysctls[hearing] = before;
    kernel_.sysctls[forwarding6] = "0";
    const auto report = apply(forwarding_state());
    ASSERT_TRUE(report);
    EXPECT_THAT(report->skipped, ElementsAre());
    EXPECT_EQ(kernel_.sysctls[hearing], before == "0" ? "0" : "2");
    ASSERT_TRUE(down());
    EXPECT_EQ(kernel_.sysctls[hearing], before);
    EXPECT_EQ(kernel_.sysctls[forwarding6], "0");
  }
}

TEST_F(ReconcilerTest, AnUplinkThatLostItsRouteStillHearsRouters) {
  kernel_.sysctls[hearing] = "1";
  kernel_.sysctls[forwarding6] = "0";
  ASSERT_TRUE(apply(forwarding_state()));
  NetworkState state = forwarding_state();
  std::erase_if(state.sysctls, [](const Sysctl& s) { return s.path == hearing; });
  ASSERT_TRUE(apply(state));
  EXPECT_EQ(kernel_.sysctls[hearing], "2");
  ASSERT_TRUE(apply(sample_state()));
  EXPECT_EQ(kernel_.sysctls[hearing], "1");
  EXPECT_EQ(kernel_.sysctls[forwarding6], "0");
}

TEST_F(ReconcilerTest, AKernelWithoutIpv6HearsNobody) {
  const auto report = apply(forwarding_state());
  ASSERT_TRUE(report);
  EXPECT_THAT(report->skipped, ElementsAre(HasSubstr("net.ipv6.conf.all.forwarding")));
}

TEST_F(ReconcilerTest, RestoresASysctlThatIsNoLongerWanted) {
  ASSERT_TRUE(apply(sample_state()));
  NetworkState state = sample_state();
  state.sysctls.erase(state.sysctls.begin());
  ASSERT_TRUE(apply(state));
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/all/src_valid_mark"], "0");
  EXPECT_EQ(kernel_.sysctls["net/ipv4/conf/oc-one/rp_filter"], "2");
}

TEST_F(ReconcilerTest, DownRemovesAllThatItCanWhenOneThingStays) {
  ASSERT_TRUE(apply(sample_state()));
  kernel_.failures = {{"- 5150", EPERM}};
  const auto report = down();
  ASSERT_FALSE(report);
  EXPECT_EQ(kernel_.state.rules.size(), 1U);
  EXPECT_TRUE(kernel_.state.routes.empty());
  EXPECT_FALSE(kernel_.state.nft.any());
}

TEST_F(ReconcilerTest, PlanChangesNothingAndKnowsTheTextOfAnotherProcess) {
  const std::string before = kernel_.dump();
  EXPECT_THAT(plan(sample_state()).value(), HasSubstr("+ table inet oceanid {"));
  EXPECT_EQ(kernel_.dump(), before);
  ASSERT_TRUE(apply(sample_state()));
  restart();
  EXPECT_EQ(plan(sample_state()).value(), "nothing to change\n");
  NetworkState next = sample_state();
  next.nft.text = sample_nft("next");
  const std::string text = plan(next).value();
  EXPECT_THAT(text, HasSubstr("comment \"next\""));
  EXPECT_THAT(text, testing::Not(HasSubstr("table inet")));
}

TEST_F(ReconcilerTest, RemovesATableThatTheTextNoLongerHas) {
  NetworkState state = sample_state();
  state.nft.text += "table ip oceanid_nat {\n}\n";
  ASSERT_TRUE(apply(state));
  EXPECT_TRUE(kernel_.state.nft.ip_nat);
  ASSERT_TRUE(apply(sample_state()));
  EXPECT_FALSE(kernel_.state.nft.ip_nat);
  EXPECT_TRUE(kernel_.state.nft.inet);
}

TEST_F(ReconcilerTest, KeepsTheLastGoodStateAcrossARestart) {
  EXPECT_EQ(reconciler_->load_last_good().error().code, Errc::not_found);
  ASSERT_TRUE(reconciler_->save_last_good(sample_state()));
  restart();
  EXPECT_EQ(reconciler_->load_last_good().value(), sample_state());
  std::ofstream(directory_.path + "/last_good.json") << "{\"version\":1,\"rules\":[{}]}";
  EXPECT_THAT(reconciler_->load_last_good().error().what, HasSubstr("last_good.json"));
}

TEST_F(ReconcilerTest, ServesConcurrentCallsOneAfterTheOther) {
  std::vector<bool> results;
  for (const char* exit : {"oc-one", "oc-two", "oc-one", "oc-two"})
    asio::co_spawn(io_, reconciler_->apply(sample_state(exit)),
                   [&](std::exception_ptr error, Result<ApplyReport> report) {
                     results.push_back(!error && report);
                   });
  io_.restart();
  io_.run();
  EXPECT_THAT(results, ElementsAre(true, true, true, true));
  EXPECT_THAT(kernel_.dump(), HasSubstr("default dev oc-two table 13128"));
  EXPECT_EQ(kernel_.nft_runs, 1);
}

}  // namespace
}  // namespace oceanid::routing
