// What the gateway says about itself: explain, tunnels that a new policy forbids, the inventory.
#include "proxy/edge/explain.hpp"
#include "tests/unit/proxy/edge_name_server.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <future>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

Role role(std::string name, std::vector<std::string> allow, std::vector<std::string> deny = {}) {
  Role out;
  out.name = std::move(name);
  out.allow = std::move(allow);
  out.deny = std::move(deny);
  return out;
}

Result<Explanation> explain(Gateway& gateway, ExplainQuery query) {
  std::promise<Result<Explanation>> promise;
  auto answer = promise.get_future();
  gateway.run_inside([&] {
    gateway.server().explain(std::move(query),
                             [&](Result<Explanation> said) { promise.set_value(std::move(said)); });
  });
  EXPECT_EQ(answer.wait_for(10s), std::future_status::ready);
  return answer.get();
}

TEST(EdgeExplain, SaysWhatARequestWouldMeetInTheSameWords) {
  NameServer names({{"two.test", {.a = {"127.0.0.1", "127.0.0.9"}}}});
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.dns.servers = {names.address()};
    settings.policy.roles = {role("ls", {"two.test:443"}, {"127.0.0.9"})};
  });
  const auto said = explain(gateway, {"two.test:443", "127.0.0.1", {}, {}});
  ASSERT_TRUE(said) << said.error().what;
  EXPECT_EQ(said->role, "ls");
  EXPECT_EQ(said->rule, "proxy.policy.roles.ls.allow: two.test:443");
  EXPECT_EQ(said->verdict, "allow");
  EXPECT_EQ(said->status, 200);
  EXPECT_GT(said->mtu, 1000U);
  ASSERT_EQ(said->addresses.size(), 2U);
  for (const ExplainedAddress& one : said->addresses) {
    EXPECT_EQ(one.allowed, one.address == "127.0.0.1");
    if (!one.allowed) EXPECT_EQ(one.rule, "proxy.policy.roles.ls.deny: 127.0.0.9");
  }

  const auto refused = explain(gateway, {"other.test:443", "", {}, {}});
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->verdict, "deny");
  EXPECT_EQ(refused->reason, "policy_denied");
  EXPECT_EQ(refused->rule, "proxy.policy.roles.ls.allow: nothing there fits");
  EXPECT_TRUE(refused->sentence.contains("403 Denied By Policy")) << refused->sentence;
}

TEST(EdgeExplain, NamesTheGuardsRangeAndTheClientsList) {
  Gateway gateway;
  const auto metadata = explain(gateway, {"169.254.169.254:443", "", {}, {}});
  ASSERT_TRUE(metadata);
  EXPECT_EQ(metadata->reason, "destination_prohibited");
  EXPECT_TRUE(metadata->rule.starts_with("169.254.0.0/16")) << metadata->rule;
  const auto stranger = explain(gateway, {"192.0.2.1:443", "203.0.113.9", {}, {}});
  ASSERT_TRUE(stranger);
  EXPECT_EQ(stranger->reason, "client_not_allowed");
  EXPECT_FALSE(explain(gateway, {"no port", "", {}, {}}));
  EXPECT_FALSE(explain(gateway, {"a.test:443", "nowhere", {}, {}}));
}

TEST(EdgeRejudge, AChangedPolicyListsAndCutsWhatItForbids) {
  Target target;
  Gateway gateway;
  Tunnel stays = open_tunnel(gateway, target);
  Peer other = gateway.client("127.0.0.2");
  ASSERT_TRUE(connect_through(other, loopback(target.port())).starts_with("HTTP/1.1 200 "));
  Peer other_server = target.accept();
  ConnectionList list;
  gateway.run_inside([&] { list = gateway.server().forbidden(false); });
  EXPECT_EQ(list.open, 2U);
  EXPECT_EQ(list.matching, 0U);

  gateway.apply([](Runtime&, ProxySettings& settings) {
    Role none = role("none", {});
    none.sources = {Prefix::parse("127.0.0.2").value()};
    settings.policy.roles = {none};
  });
  gateway.run_inside([&] { list = gateway.server().forbidden(false); });
  ASSERT_EQ(list.matching, 1U);
  EXPECT_TRUE(list.connections[0].source.starts_with("127.0.0.2:"));
  EXPECT_EQ(list.connections[0].rule, "proxy.policy.roles.none.allow: nothing there fits");
  EXPECT_TRUE(other.send_all("still there"));
  EXPECT_EQ(other_server.recv_exact(11), "still there");

  gateway.run_inside([&] { list = gateway.server().forbidden(true); });
  EXPECT_EQ(list.matching, 1U);
  EXPECT_EQ(other.recv_all(), "");
  EXPECT_TRUE(stays.client.send_all("hello"));
  EXPECT_EQ(stays.server.recv_exact(5), "hello");
}

TEST(EdgeRejudge, AnAddressThatIsDeniedNowForbidsTheTunnelToItsName) {
  NameServer names({{"db.test", {.a = {"127.0.0.1"}}}});
  Target target;
  Gateway gateway(
      [&](Runtime&, ProxySettings& settings) { settings.dns.servers = {names.address()}; });
  Peer client = gateway.client();
  ASSERT_TRUE(connect_through(client, "db.test:" + std::to_string(target.port()))
                  .starts_with("HTTP/1.1 200 "));
  gateway.apply([](Runtime&, ProxySettings& settings) {
    settings.policy.roles = {role("ls", {"*"}, {"127.0.0.0/8"})};
  });
  ConnectionList list;
  gateway.run_inside([&] { list = gateway.server().forbidden(false); });
  ASSERT_EQ(list.matching, 1U);
  EXPECT_EQ(list.connections[0].rule, "proxy.policy.roles.ls.deny: 127.0.0.0/8");
}

TEST(EdgeInventory, ReportModeCollectsWhatWasReached) {
  NameServer names({{"db.test", {.a = {"127.0.0.1"}}}, {"api.test", {.a = {"127.0.0.1"}}}});
  Target target;
  const std::string port = std::to_string(target.port());
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.dns.servers = {names.address()};
    settings.policy.roles = {role("ls", {"db.test:" + port})};
    settings.policy.roles[0].action = RoleAction::report;
  });
  for (const auto* host : {"db.test:", "api.test:", "api.test:", "nowhere.test:"}) {
    Peer client = gateway.client();
    connect_through(client, host + port);
  }
  RoleInventory seen;
  gateway.run_inside([&] { seen = gateway.server().inventory_of("ls"); });
  ASSERT_EQ(seen.destinations.size(), 2U);  // what could not be resolved was not reached
  EXPECT_EQ(seen.destinations[0].host, "api.test");
  EXPECT_EQ(seen.destinations[0].count, 2U);
  EXPECT_EQ(suggest_allow(seen), (std::vector<std::string>{"db.test:" + port, "api.test:" + port}));
}

}  // namespace
}  // namespace oceanid::proxy::test
