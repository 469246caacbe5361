// What is done to the connections of an exit that was given up, in which order; with fakes that
// remember.

#include "routing/edge/flow_keeper.hpp"

#include "tests/fakes/fake_kernel.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/unit/routing/plan_inputs.hpp"

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using namespace std::chrono_literals;
using examples::address;
using examples::name;

class FakeFlowKernel final : public FlowKernel {
 public:
  std::vector<std::string> log;
  int error = 0;
  std::size_t busy = 0;  // how many of the next forgets find the entry in use

  Result<void> wake(const FlowTuple& tuple) override { return note("wake", tuple); }
  Result<void> mark(const Flow& flow, const Mark& mark) override {
    return note("mark " + mark.to_string(), flow.original);
  }
  Result<void> forget(const Flow& flow) override {
    auto done = note("forget", flow.original);
    if (busy == 0) return done;
    --busy;
    return fail_errno("refused", EBUSY);
  }

 private:
  Result<void> note(const std::string& what, const FlowTuple& tuple) {
    log.push_back(what + " " + std::to_string(tuple.source_port));
    if (error != 0) return fail_errno("refused", error);
    return {};
  }
};

Flow flow(std::uint16_t port, std::uint8_t protocol = tcp_number) {
  Flow out;
  out.original = {address("10.42.1.7"), address("192.0.2.80"), port, 443, protocol};
  out.reply = {address("192.0.2.80"), address("10.42.1.7"), 443, port, protocol};
  out.id = port;
  if (protocol == tcp_number) out.tcp_state = TcpState::established;
  return out;
}

struct Bench {
  asio::io_context io;
  FakeKernel kernel;
  FakeFlowKernel flows;
  std::vector<std::string> reports;
  FlowKeeper keeper{io.get_executor(), kernel, flows,
                    [this](const std::string& text) { reports.push_back(text); }};

  Bench() {
    kernel.state.nft.inet = true;
    const Inputs styx = examples::styx();
    keeper.table().set_scope(FlowScope(plan(styx), *styx.routing));
    keeper.switched_to(name("oc-tethys"));
  }
  ~Bench() {
    run_task(io, [](FlowKeeper& k) -> awaitable<bool> {
      co_await k.stop();
      co_return true;
    }(keeper));
  }
  void run_for(std::chrono::milliseconds time) {
    io.restart();
    io.run_for(time);
  }
  void until_reports(std::size_t count) {
    for (int i = 0; i < 200 && reports.size() < count; ++i)
      run_for(50ms);
    ASSERT_EQ(reports.size(), count);
  }
};

TEST(FlowKeeper, ResetsWhatTheFormerExitCarried) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.table().flow_begun(flow(2, udp_number));
  bench.keeper.switched_to(name("oc-meliae"));
  bench.keeper.table().flow_begun(flow(3));
  bench.until_reports(1);
  ASSERT_EQ(bench.kernel.element_changes.size(), 1U) << "UDP is not answered with a reset";
  const ElementChange& change = bench.kernel.element_changes[0];
  EXPECT_EQ(change.set, "reset4");
  ASSERT_EQ(change.keys.size(), 1U);
  EXPECT_EQ(
      change.keys[0].key,
      ElementKey().address(address("10.42.1.7")).port(1).address(address("192.0.2.80")).port(443));
  // Woken twice, and the entry stays until then.
  EXPECT_THAT(bench.flows.log, testing::ElementsAre("wake 1", "forget 2", "wake 1", "forget 1"));
  EXPECT_EQ(bench.keeper.counts().reset, 1U);
  EXPECT_EQ(bench.reports[0], "1 connections of the former exit were reset, 1 forgotten");
}

// Few of them, all over the table: none waits for pauses that are meant for many.
TEST(FlowKeeper, IsQuickWithFew) {
  Bench bench;
  for (std::uint16_t port = 1; port <= 300; ++port)
    bench.keeper.table().flow_begun(flow(port, port % 3 == 0 ? tcp_number : udp_number));
  bench.keeper.switched_to(name("oc-meliae"));
  const auto begun = std::chrono::steady_clock::now();
  while (bench.keeper.counts().reset < 100 && std::chrono::steady_clock::now() - begun < 5s)
    bench.run_for(1ms);
  EXPECT_EQ(bench.keeper.counts().reset, 100U);
  EXPECT_EQ(bench.keeper.counts().forgotten, 200U);
  // 2 ms; with a pause after each part of the table more than 600 ms.
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 300ms);
}

TEST(FlowKeeper, RefusesBeforeItWakes) {
  Bench bench;
  for (std::uint16_t port = 1; port <= 1000; ++port)
    bench.keeper.table().flow_begun(flow(port));
  bench.keeper.switched_to(name("oc-meliae"));
  while (bench.flows.log.empty())
    bench.run_for(5ms);
  EXPECT_FALSE(bench.kernel.element_changes.empty());
  bench.until_reports(1);
  std::size_t refused = 0;
  for (const ElementChange& change : bench.kernel.element_changes)
    refused += change.keys.size();
  EXPECT_EQ(refused, 1000U);
  EXPECT_GE(bench.kernel.element_changes.size(), 2U) << "in parts";
  EXPECT_EQ(bench.keeper.counts().reset, 1000U);
  EXPECT_EQ(bench.flows.log.size(), 3000U);
}

// As kernels before 6.1.32 refuse it while the flowtable still holds the entry.
TEST(FlowKeeper, ForgetsAnEntryThatWasBusyALittleLater) {
  Bench bench;
  bench.flows.busy = 1;
  bench.keeper.table().flow_begun(flow(2, udp_number));
  bench.keeper.switched_to(name("oc-meliae"));
  bench.run_for(50ms);
  EXPECT_FALSE(bench.keeper.settled(name("oc-meliae")));
  bench.until_reports(1);
  EXPECT_THAT(bench.flows.log, testing::ElementsAre("forget 2", "forget 2")) << "UDP is not woken";
  EXPECT_EQ(bench.reports[0], "0 connections of the former exit were reset, 1 forgotten");
}

TEST(FlowKeeper, IsSettledWhenNothingOfTheFormerExitIsLeft) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  EXPECT_TRUE(bench.keeper.settled(name("oc-tethys")));
  EXPECT_FALSE(bench.keeper.settled(name("oc-meliae"))) << "a switch it was not told of yet";
  EXPECT_TRUE(bench.keeper.settled(std::nullopt)) << "nothing leaves: nothing is reset";
  bench.keeper.switched_to(name("oc-meliae"), 200ms);
  EXPECT_FALSE(bench.keeper.settled(name("oc-meliae"))) << "drained";
  bench.until_reports(1);
  EXPECT_TRUE(bench.keeper.settled(name("oc-meliae")));
}

TEST(FlowKeeper, SaysWhatWasRefused) {
  Bench bench;
  bench.flows.error = EPERM;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.switched_to(name("oc-meliae"));
  bench.until_reports(1);
  EXPECT_THAT(bench.reports[0], testing::HasSubstr("3 refusals, the last one: refused"));
}

TEST(FlowKeeper, KeepsADrainedExitsConnectionsForAWhile) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.switched_to(name("oc-meliae"), 400ms);
  bench.run_for(50ms);
  bench.keeper.switched_to(name("oc-meliae"), 400ms);  // told again at every audit
  EXPECT_TRUE(bench.flows.log.empty());
  EXPECT_FALSE(bench.keeper.drained());
  bench.until_reports(1);
  EXPECT_TRUE(bench.keeper.drained());
  EXPECT_EQ(bench.keeper.counts().reset, 1U);
}

TEST(FlowKeeper, ANewTimeCountsForAnExitThatIsBeingDrained) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.switched_to(name("oc-meliae"), 1h);
  bench.run_for(50ms);
  bench.keeper.switched_to(name("oc-meliae"), 400ms);
  bench.run_for(50ms);
  EXPECT_FALSE(bench.keeper.drained());
  bench.until_reports(1);
  EXPECT_TRUE(bench.keeper.drained());
  EXPECT_EQ(bench.keeper.counts().reset, 1U);
}

TEST(FlowKeeper, EndsDrainingWhenTheExitIsLost) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.switched_to(name("oc-meliae"), 1h);
  bench.keeper.end_draining();
  bench.until_reports(1);
}

TEST(FlowKeeper, IsDrainedWhenTheLastOneHasEnded) {
  Bench bench;
  bench.keeper.table().flow_begun(flow(1));
  bench.keeper.switched_to(name("oc-meliae"), 1h);
  bench.keeper.table().flow_ended(flow(1));
  bench.keeper.switched_to(name("oc-meliae"), 1h);
  EXPECT_TRUE(bench.keeper.drained());
}

TEST(FlowKeeper, MarksWhatIsToStay) {
  Bench bench;
  for (std::uint16_t port = 1; port <= 100; ++port)
    bench.keeper.table().flow_begun(flow(port));
  run_task(bench.io, [](FlowKeeper& keeper) -> awaitable<bool> {
    co_await keeper.pin(Mark{0x0a000000, 0x0a000000});
    co_return true;
  }(bench.keeper));
  EXPECT_EQ(bench.flows.log.size(), 100U);
  EXPECT_THAT(bench.flows.log, testing::Contains("mark 0x0a000000/0x0a000000 7"));
  EXPECT_EQ(bench.keeper.table().size(), 100U);
}

}  // namespace
}  // namespace oceanid::routing
