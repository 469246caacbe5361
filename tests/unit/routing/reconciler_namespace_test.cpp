// The reconciler against the real kernel, in network namespaces of its own.

#include "routing/core/plan.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "routing/edge/reconciler.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/fakes/sample_state.hpp"
#include "tests/unit/routing/plan_inputs.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <boost/asio/co_spawn.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

namespace oceanid::routing {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

void isolated(const std::function<void()>& body) {
  const int status = run_in_namespace(body);
  if (status == namespace_refused) GTEST_SKIP() << why_no_namespace();
  EXPECT_EQ(status, 0);
}

constexpr const char* foreign_table =
    "nft 'table ip other { chain c { type filter hook forward priority 0; policy accept; }; }'";

std::string sorted_lines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  std::ranges::sort(lines);
  return fmt::format("{}", fmt::join(lines, "\n"));
}

// A host with a life of its own: rules, routes and nft tables that are not ours.
class Host {
 public:
  Host() {
    // Without IPv6 addresses of their own: those come seconds later, when nobody else had the same.
    shell(
        "ip link set lo up; sysctl -qw net.ipv6.conf.default.disable_ipv6=1;"
        "for i in oc-one:far-one oc-two:far-two eth0:far-zero; do"
        "  ip link add ${i%:*} type veth peer name ${i#*:}; ip link set ${i#*:} up; done;"
        "ip link set eth0 up; ip address add 192.0.2.9/24 dev eth0;"
        "ip route add default via 192.0.2.1; ip route add 100.64.0.0/10 dev eth0 table 52;"
        "ip rule add pref 5270 lookup 52");
    shell(foreign_table);
    open({});
  }
  void open(const NftOptions& options) {
    kernel_ = std::move(*LinuxKernel::open(io_.get_executor(), options));
    restart();
  }
  void restart() {
    reconciler_ = std::make_unique<Reconciler>(io_.get_executor(), *kernel_, directory_.path);
  }
  Result<ApplyReport> apply(const NetworkState& state) {
    return run_task(io_, reconciler_->apply(state));
  }
  // Asks for the exit of `next` while the apply of `state` runs; how long after its beginning the
  // switch was made.
  std::chrono::milliseconds apply_and_switch(const NetworkState& state, const NetworkState& next) {
    std::optional<std::chrono::steady_clock::duration> switched;
    const auto begin = std::chrono::steady_clock::now();
    asio::co_spawn(
        io_, reconciler_->apply(state),
        [](std::exception_ptr, Result<ApplyReport> done) { EXPECT_TRUE(done && done->overtaken); });
    asio::steady_timer soon(io_, std::chrono::milliseconds(100));
    soon.async_wait([&](const boost::system::error_code&) {
      EXPECT_TRUE(reconciler_->switch_exit(next, 13128));
      switched = std::chrono::steady_clock::now() - begin;
      EXPECT_THAT(shell("ip route show table 13128"), HasSubstr("default dev oc-two"));
    });
    io_.restart();
    io_.run();
    return std::chrono::duration_cast<std::chrono::milliseconds>(switched.value());
  }
  // The nft program, and what happens before it runs.
  std::string nft_after(const std::string& script) const {
    const std::string path = directory_.path + "/nft";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\nexec nft \"$@\"\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  const std::string& folder() const { return directory_.path; }
  Result<DownReport> down() { return run_task(io_, reconciler_->down()); }
  std::string plan(const NetworkState& state) {
    return run_task(io_, reconciler_->plan(state)).value();
  }
  static std::string rules_routes_nft_sysctls() {
    return shell(
        "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all;"
        "nft list ruleset; cd /proc/sys/net; grep -r . ipv4/conf ipv6/conf ipv4/ip_forward "
        "--exclude=stable_secret | grep -v -e oc-one -e oc-two -e far- | sort");
  }

 private:
  TemporaryDirectory directory_;
  asio::io_context io_;
  std::unique_ptr<LinuxKernel> kernel_;
  std::unique_ptr<Reconciler> reconciler_;
};

NetworkState full_state(std::string_view exit = "oc-one") {
  NetworkState state = sample_state(exit);
  state.nft.text += "table ip oceanid_nat {\n}\n";
  state.sysctls.push_back({"net/ipv4/ip_forward", "1", true});
  return state;
}

NftTables with_set(std::initializer_list<std::string_view> prefixes) {
  NftTables out = full_state().nft;
  out.text.insert(out.text.find("  chain guard"),
                  "  set some { type ipv4_addr; flags interval; }\n");
  NamedSet& set = out.sets.emplace_back(NamedSet{"some", Family::v4, {}});
  std::vector<Prefix> parsed;
  for (const auto text : prefixes)
    parsed.push_back(prefix(text));
  set.prefixes = std::move(parsed);
  return out;
}

TEST(ReconcilerNamespace, ASecondApplyFindsNothingToDo) {
  isolated([] {
    Host host;
    const auto first = host.apply(full_state());
    ASSERT_TRUE(first) << first.error().what;
    EXPECT_THAT(first->skipped, ElementsAre());
    EXPECT_TRUE(first->nft);
    const std::string stands = Host::rules_routes_nft_sysctls();
    const auto second = host.apply(full_state());
    ASSERT_TRUE(second) << second.error().what;
    EXPECT_EQ(second->changes, 0U);
    EXPECT_FALSE(second->nft);
    EXPECT_EQ(Host::rules_routes_nft_sysctls(), stands);
    EXPECT_EQ(host.plan(full_state()), "nothing to change\n");
    host.restart();
    EXPECT_EQ(host.plan(full_state()), "nothing to change\n");
  });
}

TEST(ReconcilerNamespace, SwitchesTheExitWithoutNft) {
  isolated([] {
    Host host;
    ASSERT_TRUE(host.apply(full_state("oc-one")));
    const auto report = host.apply(full_state("oc-two"));
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_EQ(report->changes, 1U);
    EXPECT_FALSE(report->nft);
    EXPECT_EQ(shell("ip route show table 13128"),
              "default dev oc-two proto 131 scope link metric 10 \n"
              "unreachable default proto 131 metric 4294967295 \n");
  });
}

TEST(ReconcilerNamespace, SwitchesTheExitWhileNftRuns) {
  isolated([] {
    Host host;
    const auto state = [](std::string_view exit, std::string_view nft) {
      NetworkState out = full_state(exit);
      out.routes.push_back(open_default(Family::v4, 13130, "oc-two"));
      out.routes.push_back(closed_default(Family::v4, 13130));
      out.nft.text = sample_nft(nft);
      return out;
    };
    host.open({.program = host.nft_after("sleep 1")});
    ASSERT_TRUE(host.apply(state("oc-one", "first")));
    const auto begin = std::chrono::steady_clock::now();
    const auto took = host.apply_and_switch(state("oc-one", "next"), state("oc-two", "next"));
    EXPECT_LT(took, std::chrono::seconds(1));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2)) << "two children";
    EXPECT_EQ(shell("ip route show table 13128"),
              "default dev oc-two proto 131 scope link metric 10 \n"
              "unreachable default proto 131 metric 4294967295 \n");
    EXPECT_THAT(shell("nft list ruleset"), HasSubstr("comment \"next\""));
    EXPECT_EQ(host.apply(state("oc-two", "next"))->changes, 0U);
  });
}

// Listing a ruleset with large sets costs most of a second, and a text that the kernel would refuse
// must not reach it.
TEST(ReconcilerNamespace, ChecksWithNftThenCommitsAndNeverLists) {
  isolated([] {
    Host host;
    const std::string calls = host.folder() + "/calls";
    host.open({.program = host.nft_after("echo \"$@\" >>" + calls)});
    const auto called = [&] { return shell("cat " + calls + " && >" + calls); };
    NetworkState state = full_state("oc-one");
    state.nft = with_set({"192.0.2.0/24"});
    ASSERT_TRUE(host.apply(state));
    EXPECT_EQ(called(), "-c -f -\n-f -\n");
    for (int i = 0; i < 5; ++i)
      EXPECT_EQ(host.apply(state)->changes, 0U);
    NetworkState other = full_state("oc-two");
    other.nft = with_set({"192.0.2.0/24"});
    EXPECT_EQ(host.apply(other)->changes, 1U);
    other.nft = with_set({"192.0.2.0/24", "198.51.100.0/24"});
    EXPECT_EQ(host.apply(other)->changes, 1U);
    EXPECT_EQ(called(), "") << "neither for nothing, nor for an exit, nor for an element";
    EXPECT_THAT(shell("nft list set inet oceanid some"), HasSubstr("198.51.100.0/24"));
    shell("nft flush ruleset");
    ASSERT_TRUE(host.apply(other));
    other.nft.text += "table ip oceanid_nat {\n  chain new { }\n}\n";
    ASSERT_TRUE(host.apply(other));
    EXPECT_EQ(called(), "-c -f -\n-f -\n-c -f -\n-f -\n");
    other.nft.text += "nonsense\n";
    EXPECT_FALSE(host.apply(other));
    EXPECT_EQ(called(), "-c -f -\n");
    EXPECT_THAT(shell("nft list ruleset"), HasSubstr("chain new"));
  });
}

TEST(ReconcilerNamespace, DownLeavesTheHostByteForByteAsItWas) {
  isolated([] {
    Host host;
    const std::string before = Host::rules_routes_nft_sysctls();
    const auto up = host.apply(full_state());
    ASSERT_TRUE(up) << up.error().what;
    const auto over = host.apply(full_state("oc-two"));
    ASSERT_TRUE(over) << over.error().what;
    EXPECT_NE(Host::rules_routes_nft_sysctls(), before);
    host.restart();  // `oceanid down` is another process
    const auto report = host.down();
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_THAT(report->kept, ElementsAre());
    // What the tunnel side does with its devices.
    shell(
        "ip address flush dev oc-one; ip address flush dev oc-two;"
        "ip link set oc-one down; ip link set oc-two down");
    shell("ip link set oc-one mtu 1500; ip link set oc-two mtu 1500");
    EXPECT_THAT(shell("ip rule; ip route show table all; ip -6 route show table all"),
                Not(HasSubstr("proto 131")));
    EXPECT_EQ(Host::rules_routes_nft_sysctls(), before);
    EXPECT_EQ(host.down()->changes, 0U);
  });
}

TEST(ReconcilerNamespace, RepairsWhatOthersTookAway) {
  isolated([] {
    Host host;
    ASSERT_TRUE(host.apply(full_state()));
    const std::string stands = sorted_lines(Host::rules_routes_nft_sysctls());
    for (const char* harm :
         {"nft flush ruleset", "ip route flush table 13128", "ip rule del pref 5150",
          "ip link set oc-one down", "sysctl -qw net.ipv4.ip_forward=0"}) {
      shell(harm);
      const auto report = host.apply(full_state());
      ASSERT_TRUE(report) << harm << ": " << report.error().what;
      EXPECT_GT(report->changes, 0U) << harm;
      if (std::string_view(harm).starts_with("nft")) shell(foreign_table);
      EXPECT_EQ(host.apply(full_state())->changes, 0U) << harm;
    }
    EXPECT_EQ(sorted_lines(Host::rules_routes_nft_sysctls()), stands);
  });
}

TEST(ReconcilerNamespace, RollsBackWhenTheKernelRefusesAStep) {
  isolated([] {
    Host host;
    ASSERT_TRUE(host.apply(full_state("oc-one")));
    const std::string before = Host::rules_routes_nft_sysctls();
    NetworkState wrong = full_state("oc-two");
    wrong.nft.text = sample_nft("wrong");
    Route unreachable = open_default(Family::v4, 13140, "oc-two");
    unreachable.gateway = IpAddress::parse("198.51.100.1").value();  // and not on_link
    wrong.routes.push_back(unreachable);
    const auto report = host.apply(wrong);
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().what, HasSubstr("Nexthop has invalid gateway"));
    EXPECT_THAT(report.error().what, HasSubstr("nothing was changed"));
    EXPECT_EQ(Host::rules_routes_nft_sysctls(), before);
    EXPECT_EQ(host.apply(full_state("oc-one"))->changes, 0U);
  });
}

TEST(ReconcilerNamespace, KeepsTheUnreachableDefaultWhenTheDeviceIsMissing) {
  isolated([] {
    Host host;
    shell(
        "ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.42.1.1/24 dev cni0;"
        "ip link delete oc-two");
    const auto by_route = [] {
      return shell("ip route get 203.0.113.5 from 10.42.1.9 iif cni0 || true");
    };
    shell("sysctl -qw net.ipv4.ip_forward=1");
    EXPECT_THAT(by_route(), HasSubstr("dev eth0")) << "what must not happen later can happen here";
    const auto report = host.apply(full_state("oc-two"));
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_THAT(report->skipped, testing::Contains(HasSubstr("oc-two does not exist")));
    EXPECT_EQ(shell("ip route show table 13128"),
              "unreachable default proto 131 metric 4294967295 \n");
    EXPECT_THAT(by_route(), HasSubstr("No route to host"));
  });
}

TEST(ReconcilerNamespace, DeletesTheRightOneOfTwoSimilarRules) {
  isolated([] {
    Host host;
    // The kernel takes a delete request for the first rule that has everything the request names,
    // so deleting the short one hits the long one.
    NetworkState both;
    Rule shorter = rule(5150, Lookup{13128});
    Rule longer = shorter;
    longer.iif = device("cni0");
    both.rules = {longer, shorter};
    ASSERT_TRUE(host.apply(both));
    NetworkState one;
    one.rules = {longer};
    ASSERT_TRUE(host.apply(one));
    EXPECT_EQ(host.apply(one)->changes, 0U);
    EXPECT_EQ(shell("ip rule list pref 5150"),
              "5150:\tfrom all iif cni0 [detached] lookup 13128 proto 131\n");
  });
}

// What plan() asks for is what the kernel reads back, on every node of the reference cluster.
void stands_after_one_apply(const Inputs& inputs) {
  Host host;
  const NetworkState state = plan(inputs);
  std::set<std::string> names;
  for (const LinkState& link : state.links)
    names.insert(link.name.str());
  for (const Route& route : state.routes)
    if (route.device) names.insert(route.device->str());
  for (const std::string& name : names)
    shell(
        fmt::format("ip link show {0} >/dev/null 2>&1 || ip link add {0} type veth peer name p-{1};"
                    "ip link set {0} addrgenmode none;"
                    "sysctl -qw net/ipv6/conf/{0}/disable_ipv6=0; ip link set {0} up",
                    name, name.substr(0, 12)));
  const std::string before = Host::rules_routes_nft_sysctls();
  const auto first = host.apply(state);
  ASSERT_TRUE(first) << first.error().what;
  EXPECT_THAT(first->skipped, ElementsAre());
  EXPECT_EQ(host.apply(state)->changes, 0U);
  EXPECT_EQ(host.plan(state), "nothing to change\n");
  const auto down = host.down();
  ASSERT_TRUE(down) << down.error().what;
  for (const LinkState& link : state.links)
    shell(fmt::format("ip address flush dev {0}; ip link set {0} down mtu 1500; ip link set {0} up",
                      link.name.str()));
  EXPECT_EQ(Host::rules_routes_nft_sysctls(), before);
}

// What plan() asks for is what the kernel reads back, on every node of the reference cluster.
TEST(ReconcilerNamespace, EveryNodesPlanStandsAfterOneApply) {
  for (const Inputs& inputs :
       {examples::styx(), examples::tethys(), examples::meliae(), examples::calypso(),
        examples::dual_stack(), examples::mapped_exit()})
    isolated([&] { stands_after_one_apply(inputs); });
}

}  // namespace
}  // namespace oceanid::routing
