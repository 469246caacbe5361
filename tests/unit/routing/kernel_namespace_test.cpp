// LinuxKernel, NftRunner and FactsWatcher against the real kernel, in network namespaces of their
// own.

#include "routing/edge/facts_watcher.hpp"
#include "routing/edge/linux_kernel.hpp"
#include "tests/fakes/namespace_run.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/fakes/sample_state.hpp"

#include <chrono>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <libmnl/libmnl.h>

#include <sys/resource.h>
#include <sys/socket.h>

namespace {
int sent_to_netlink = 0;
}

// Stands before the library's: every datagram to netlink is counted.
extern "C" ssize_t mnl_socket_sendto(const mnl_socket* socket, const void* bytes, size_t size) {
  ++sent_to_netlink;
  return ::send(mnl_socket_get_fd(socket), bytes, size, 0);
}

namespace oceanid::routing {
namespace {

using testing::HasSubstr;
using testing::UnorderedElementsAreArray;

void isolated(const std::function<void()>& body) {
  const int status = run_in_namespace(body);
  if (status == namespace_refused) GTEST_SKIP() << why_no_namespace();
  EXPECT_EQ(status, 0);
}

void make_links() {
  shell(
      "ip link set lo up; ip link add oc-one type veth peer name far-one;"
      "ip link add oc-two type veth peer name far-two;"
      "ip link set far-one up; ip link set far-two up");
}

std::unique_ptr<LinuxKernel> open_kernel(asio::io_context& io, NftOptions options = {}) {
  auto kernel = LinuxKernel::open(io.get_executor(), std::move(options));
  EXPECT_TRUE(kernel);
  return std::move(*kernel);
}

// One datagram carries many changes, and the answer of each is its own.
TEST(KernelNamespace, TellsManyChangesAtOnceAndWhichOfThemWereRefused) {
  isolated([] {
    make_links();
    asio::io_context io;
    auto kernel = open_kernel(io);
    std::vector<NetlinkChange> changes;
    for (std::uint32_t i = 0; i < 150; ++i)
      changes.emplace_back(AddRule{rule(5100 + i, Goto{5300})});
    Route no_such_gateway = open_default(Family::v4, 13140, "oc-two");
    no_such_gateway.gateway = IpAddress::parse("198.51.100.1").value();
    changes[70] = AddRoute{no_such_gateway};
    changes[71] = AddRoute{open_default(Family::v4, 13140, "oc-none")};
    changes[72] = DeleteRule{rule(5299, Goto{5300})};
    shell("ip link set oc-two up");
    const int before = sent_to_netlink;
    const auto answers = kernel->apply_all(changes);
    EXPECT_LE(sent_to_netlink - before, 3);
    ASSERT_EQ(answers.size(), changes.size());
    for (std::size_t i = 0; i < answers.size(); ++i)
      EXPECT_EQ(answers[i].has_value(), i != 70 && i != 71) << i;
    EXPECT_THAT(answers[70].error().what, HasSubstr("Nexthop has invalid gateway"));
    EXPECT_EQ(answers[71].error().os_error, ENODEV);
    EXPECT_EQ(shell("ip rule | grep -c 'proto 131'"), "147\n");
  });
}

// Without a descriptor the device's number cannot be asked for: that must not pass for a device
// that is gone, or a default route that has to go would be reported as deleted.
TEST(KernelNamespace, DoesNotTakeExhaustedDescriptorsForAMissingDevice) {
  isolated([] {
    make_links();
    shell("ip link set oc-one up");
    asio::io_context io;
    auto kernel = open_kernel(io);
    const Route route = open_default(Family::v4, 13128, "oc-one");
    ASSERT_TRUE(kernel->apply(AddRoute{route}));
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{0, limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto removed = kernel->apply(DeleteRoute{route});
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, Errc::io);
    EXPECT_TRUE(kernel->apply(DeleteRoute{route}));
    EXPECT_TRUE(kernel->read_actual()->routes.empty());
    shell("ip link del oc-one");
    EXPECT_TRUE(kernel->apply(DeleteRoute{route})) << "gone with its device";
  });
}

// An MTU below 1280 takes IPv6 off a device, and its addresses with it.
TEST(KernelNamespace, TakesAnAddressThatWentWithIpv6ForDeleted) {
  isolated([] {
    make_links();
    shell("ip link set oc-one up; ip address add fd99::1/128 dev oc-one nodad");
    asio::io_context io;
    auto kernel = open_kernel(io);
    const DeleteAddress gone{IfName::parse("oc-one").value(),
                             {IpAddress::parse("fd99::1").value(), 128}};
    shell("ip link set oc-one mtu 1279");
    const auto done = kernel->apply(gone);
    EXPECT_TRUE(done) << done.error().what;
  });
}

TEST(KernelNamespace, ReadsBackEveryRuleAndRouteThatItMakes) {
  isolated([] {
    make_links();
    shell("ip link set oc-one up; ip link set oc-two up; ip address add 192.0.2.9/24 dev oc-one");
    asio::io_context io;
    auto kernel = open_kernel(io);
    NetworkState state = sample_state();
    Route by_gateway = open_default(Family::v4, 13135, "oc-one");
    by_gateway.gateway = IpAddress::parse("198.51.100.1").value();
    by_gateway.on_link = true;
    by_gateway.source = IpAddress::parse("192.0.2.9").value();
    Route six = open_default(Family::v6, 13135, "oc-two");
    six.mtu = 1300;
    Route hole = closed_default(Family::v6, 13135);
    hole.type = RouteType::blackhole;
    hole.destination = prefix("2001:db8:7::/48");
    Route across = open_default(Family::v4, 13136, "oc-two");
    across.gateway = IpAddress::parse("2001:db8::1").value();
    across.on_link = true;
    state.routes.insert(state.routes.end(), {by_gateway, six, hole, across});
    for (const Rule& rule : state.rules) {
      const auto done = kernel->apply(AddRule{rule});
      EXPECT_TRUE(done) << done.error().what;
    }
    for (const Route& route : state.routes) {
      const auto done = kernel->apply(AddRoute{route});
      EXPECT_TRUE(done) << done.error().what;
    }
    const auto actual = kernel->read_actual();
    ASSERT_TRUE(actual);
    EXPECT_THAT(actual->rules, UnorderedElementsAreArray(state.rules));
    EXPECT_TRUE(actual->stale_rules.empty());
    EXPECT_THAT(actual->routes, UnorderedElementsAreArray(as_if_applied(state).routes));
    EXPECT_THAT(shell("ip rule"),
                HasSubstr("5150:\tfrom 10.42.1.0/24 iif cni0 [detached] lookup 13128"));
    EXPECT_THAT(shell("ip route show table 13128"), HasSubstr("unreachable default proto 131"));
  });
}

TEST(KernelNamespace, LeavesTheRoutesAndRulesOfOthersOut) {
  isolated([] {
    make_links();
    shell(
        "ip link set oc-one up; ip route add 10.1.0.0/16 dev oc-one table 13128;"
        "ip rule add pref 5101 lookup 52; ip rule add pref 5102 sport 7 lookup 52 protocol 131");
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto actual = kernel->read_actual();
    ASSERT_TRUE(actual);
    EXPECT_TRUE(actual->rules.empty());
    EXPECT_TRUE(actual->routes.empty());
    ASSERT_EQ(actual->stale_rules.size(), 1U) << "ours, but with a match of another version";
    EXPECT_EQ(actual->stale_rules.front().priority, 5102U);
  });
}

TEST(KernelNamespace, ReplacesADefaultInBothFamilies) {
  isolated([] {
    make_links();
    shell("ip link set oc-one up; ip link set oc-two up");
    asio::io_context io;
    auto kernel = open_kernel(io);
    for (const Family family : {Family::v4, Family::v6}) {
      const Route one = open_default(family, 13128, "oc-one");
      const Route two = open_default(family, 13128, "oc-two");
      Route closed = closed_default(family, 13128);
      closed.metric = one.metric;
      ASSERT_TRUE(kernel->apply(AddRoute{one}));
      for (const auto& [from, to] : {std::pair(one, two), {two, closed}, {closed, one}}) {
        const auto done = kernel->apply(ReplaceRoute{from, to});
        EXPECT_TRUE(done) << done.error().what;
        const auto actual = kernel->read_actual();
        const Route found = actual->routes.size() == 1 ? actual->routes.front() : Route{};
        EXPECT_EQ(found, to) << to_string(family);
      }
      ASSERT_TRUE(kernel->apply(DeleteRoute{one}));
      EXPECT_TRUE(kernel->read_actual()->routes.empty());
    }
  });
}

TEST(KernelNamespace, CarriesTheKernelsOwnSentence) {
  isolated([] {
    make_links();
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto missing = kernel->apply(AddRoute{open_default(Family::v4, 13128, "oc-none")});
    EXPECT_EQ(missing.error().os_error, ENODEV);
    const auto down = kernel->apply(AddRoute{open_default(Family::v4, 13128, "oc-one")});
    EXPECT_EQ(down.error().os_error, ENETDOWN);
    EXPECT_THAT(down.error().what, HasSubstr("+ default dev oc-one table 13128 metric 10: "));
    shell("ip link set oc-one up");
    Route route = open_default(Family::v4, 13128, "oc-one");
    route.gateway = IpAddress::parse("192.0.2.1").value();
    EXPECT_THAT(kernel->apply(AddRoute{route}).error().what,
                HasSubstr("Nexthop has invalid gateway"));
  });
}

TEST(KernelNamespace, TellsTheHostsFacts) {
  isolated([] {
    make_links();
    shell(
        "ip link add cni0 type bridge; ip link set cni0 up mtu 1230; ip link set oc-one up;"
        "ip address add 192.0.2.9/24 dev oc-one; ip address add 192.0.2.10/24 dev oc-one;"
        "ip -6 address add 2001:db8::9/64 dev oc-one nodad;"
        "ip route add default via 192.0.2.1 dev oc-one metric 200;"
        "ip route add default via 192.0.2.2 dev oc-one metric 100 src 192.0.2.10;"
        "ip route add default via 192.0.2.3 dev oc-one metric 50 table 77;"
        "ip -6 route add default via 2001:db8::1 dev oc-one");
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto facts = kernel->facts();
    ASSERT_TRUE(facts);
    const LinkFacts* link = find_link(*facts, device("oc-one"));
    ASSERT_NE(link, nullptr);
    EXPECT_TRUE(link->up);
    EXPECT_TRUE(link->carrier);
    EXPECT_EQ(link->kind, "veth");
    EXPECT_EQ(primary_address(*link, Family::v4), IpAddress::parse("192.0.2.9"));
    EXPECT_EQ(primary_address(*link, Family::v6), IpAddress::parse("2001:db8::9"));
    EXPECT_EQ(link->addresses.front().network, prefix("192.0.2.0/24"));
    const DefaultRoute* best = find_default(*facts, Family::v4);
    ASSERT_NE(best, nullptr);
    EXPECT_EQ(best->gateway, IpAddress::parse("192.0.2.2"));
    EXPECT_EQ(best->source, IpAddress::parse("192.0.2.10"));
    ASSERT_NE(find_default(*facts, Family::v6, device("oc-one")), nullptr);
    EXPECT_EQ(find_default(*facts, Family::v6, device("oc-two")), nullptr);
    EXPECT_EQ(other_forwarder(*facts), device("cni0"));
    EXPECT_EQ(find_link(*facts, device("cni0"))->mtu, 1230U);
    EXPECT_TRUE(find_link(*facts, device("lo"))->loopback);
  });
}

TEST(KernelNamespace, KnowsItsTablesWithoutListingThem) {
  isolated([] {
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto tables = [&] { return kernel->read_actual().value().nft; };
    EXPECT_TRUE(tables().known);
    EXPECT_FALSE(tables().any());
    ASSERT_TRUE(run_task(io, kernel->run_nft(sample_nft("one"))));
    const auto first = tables();
    EXPECT_TRUE(first.inet);
    EXPECT_FALSE(first.ip_nat);
    shell("nft add table inet other");
    EXPECT_EQ(tables(), first) << "tables of others do not matter";
    shell("nft flush table inet oceanid");
    const auto emptied = tables();
    EXPECT_NE(emptied.stamp, first.stamp) << "as many chains, but no rules";
    shell("nft 'delete chain inet oceanid guard'");
    EXPECT_NE(tables().stamp, emptied.stamp);
    ASSERT_TRUE(run_task(io, kernel->run_nft(sample_nft("one"))));
    EXPECT_NE(tables().stamp, first.stamp) << "the same text, but made anew";
    shell("nft flush ruleset");
    EXPECT_FALSE(tables().any());
  });
}

TEST(KernelNamespace, KnowsTheFlowtablesTableByItself) {
  isolated([] {
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto tables = [&] { return kernel->read_actual().value().nft; };
    ASSERT_TRUE(run_task(io, kernel->run_nft(sample_nft("one"))));
    const auto without = tables();
    EXPECT_FALSE(without.offload);
    shell(
        "nft add table inet oceanid_flow; nft add chain inet oceanid_flow established;"
        "nft add rule inet oceanid_flow established counter");
    const auto with = tables();
    EXPECT_TRUE(with.offload);
    EXPECT_EQ(with.stamp, without.stamp) << "the rule set's own is untouched";
    shell("nft flush table inet oceanid_flow");
    EXPECT_NE(tables().offload_stamp, with.offload_stamp);
  });
}

TEST(KernelNamespace, TellsABridgeWhoseFramesIptablesSees) {
  isolated([] {
    // An address, so that there is a main table to ask for defaults.
    shell(
        "ip link add seen type bridge nf_call_iptables 1; ip link add unseen type bridge;"
        "ip link set seen up; ip address add 192.0.2.1/24 dev seen");
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto tracked = [&](const char* name) {
      const HostFacts facts = kernel->facts().value();
      const LinkFacts* link = find_link(facts, device(name));
      return link != nullptr && link->tracked;
    };
    // In a new namespace the sysctls are 1 where their module is loaded, and ask for all bridges.
    const std::string all = "net/bridge/bridge-nf-call-iptables";
    const std::string all6 = "net/bridge/bridge-nf-call-ip6tables";
    const bool loaded = kernel->read_sysctl(all).has_value();
    if (loaded) {
      ASSERT_TRUE(kernel->write_sysctl(all, "0"));
      ASSERT_TRUE(kernel->write_sysctl(all6, "0"));
    }
    EXPECT_TRUE(tracked("seen"));
    EXPECT_FALSE(tracked("unseen"));
    if (!loaded) return;
    ASSERT_TRUE(kernel->write_sysctl(all6, "1"));
    EXPECT_TRUE(tracked("unseen"));
    EXPECT_FALSE(tracked("lo"));
  });
}

TEST(KernelNamespace, RepeatsNftsWordsAndChangesNothing) {
  isolated([] {
    asio::io_context io;
    auto kernel = open_kernel(io);
    const auto wrong =
        run_task(io, kernel->run_nft("table inet oceanid {\n  chain x { nonsense }\n}\n"));
    ASSERT_FALSE(wrong);
    EXPECT_EQ(wrong.error().code, Errc::invalid_argument);
    EXPECT_THAT(wrong.error().what, HasSubstr("nonsense"));
    EXPECT_EQ(shell("nft list ruleset"), "");
  });
}

TEST(KernelNamespace, TakesARulesetThatFillsNoPipe) {
  isolated([] {
    asio::io_context io;
    auto kernel = open_kernel(io);
    std::string text = "table inet oceanid {\n  set much {\n    type ipv4_addr;\n    elements = { ";
    for (int i = 0; i < 20000; ++i)
      text += (i ? ", " : "") + fmt::format("10.0.{}.{}", i / 256, i % 256);
    text += " }\n  }\n}\n";
    ASSERT_GT(text.size(), 200000U);
    const auto done = run_task(io, kernel->run_nft(text));
    ASSERT_TRUE(done) << done.error().what;
  });
}

TEST(NftRunner, ReportsAMissingProgramAndKillsOneThatHangs) {
  asio::io_context io;
  NftRunner missing(io.get_executor(), {.program = "/nonexistent/nft"});
  EXPECT_EQ(run_task(io, missing.apply("x")).error().code, Errc::not_found);
  TemporaryDirectory directory;
  const std::string program = directory.path + "/slow-nft";
  shell("printf '#!/bin/sh\\nexec sleep 1000\\n' >" + program + " && chmod +x " + program);
  NftRunner slow(io.get_executor(), {.program = program, .timeout = std::chrono::seconds(1)});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run_task(io, slow.apply("x")).error().code, Errc::timeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "no child is left";
}

TEST(KernelNamespace, WatchesForeignChangesAndNotItsOwn) {
  isolated([] {
    // Without IPv6 no address and no route comes by itself seconds after `up`; carrier still may.
    shell("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
    make_links();
    shell("ip link set oc-one up");
    asio::io_context io;
    auto kernel = open_kernel(io);
    std::vector<FactsChange> seen;
    auto watcher = FactsWatcher::start(
        io.get_executor(), [&](const FactsChange& change) { seen.push_back(change); },
        kernel->port_id());
    ASSERT_TRUE(watcher);
    const auto run_until = [&](auto condition) {
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
      io.restart();
      while (!condition() && std::chrono::steady_clock::now() < limit)
        io.run_one_for(std::chrono::milliseconds(100));
      return condition();
    };
    // Ours first: if it were told, it would be part of the first call.
    ASSERT_TRUE(kernel->apply(AddRoute{open_default(Family::v4, 13128, "oc-one")}));
    shell("ip rule add pref 99 lookup 99; ip rule add pref 98 lookup 98");
    ASSERT_TRUE(run_until([&] { return !seen.empty() && seen.back().rules; }));
    EXPECT_EQ(std::ranges::count_if(seen, &FactsChange::rules), 1) << "one call for both rules";
    EXPECT_EQ(std::ranges::count_if(seen, &FactsChange::routes), 0) << "none for our route";
    shell("ip address add 192.0.2.7/32 dev oc-one");
    ASSERT_TRUE(run_until([&] { return seen.back().addresses; }));
    shell("ip link delete oc-two");
    ASSERT_TRUE(run_until([&] { return seen.back().links; }));
    // More notices than the buffer holds, unread: the kernel drops some and says so.
    shell(
        "for t in $(seq 1 60); do for i in $(seq 1 250); do echo route add 10.$t.$i.0/24 dev "
        "oc-one;"
        "done; done | ip -batch -");
    ASSERT_TRUE(run_until([&] { return seen.back().resync; }));
    bool stopped = false;
    asio::co_spawn(io, (*watcher)->stop(), [&](std::exception_ptr) { stopped = true; });
    EXPECT_TRUE(run_until([&] { return stopped; }));
  });
}

}  // namespace
}  // namespace oceanid::routing
