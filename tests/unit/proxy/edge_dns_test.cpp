#include "tests/unit/proxy/edge_name_server.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

struct World {
  explicit World(std::map<std::string, NameEntry> names,
                 const std::function<void(Runtime&, ProxySettings&)>& change = {})
      : dns(std::move(names)), gateway([&](Runtime& runtime, ProxySettings& settings) {
          settings.dns.servers = {dns.address()};
          settings.dns.timeout = 2s;
          if (change) change(runtime, settings);
        }) {}
  NameServer dns;
  Gateway gateway;
};

std::string ask(Gateway& gateway, const std::string& authority) {
  Peer client = gateway.client();
  return connect_through(client, authority);
}

std::string with_port(const std::string& name, std::uint16_t port) {
  return name + ":" + std::to_string(port);
}

TEST(EdgeDns, ANameIsResolvedOnceAndRemembered) {
  World world({{"db.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(ask(world.gateway, with_port("db.example.test", target.port()))
                    .starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(world.dns.queries("db.example.test"), 1);
}

TEST(EdgeDns, AsksAtTheSameTimeShareOneQuery) {
  World world({{"db.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  std::vector<Peer> clients;
  for (int i = 0; i < 20; ++i)
    clients.push_back(world.gateway.client());
  world.gateway.run_inside([&] {  // all heads are there before the loop sees the first
    for (Peer& client : clients)
      ASSERT_TRUE(client.send_all(connect_request(with_port("db.example.test", target.port()))));
  });
  for (Peer& client : clients)
    EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(world.dns.queries("db.example.test"), 1);
}

TEST(EdgeDns, AnUnknownNameIs502AndRememberedBriefly) {
  World world({});
  for (int i = 0; i < 2; ++i) {
    const std::string answer = ask(world.gateway, "nowhere.example.test:443");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 Name Not Resolved")) << answer;
    EXPECT_NE(answer.find("error=dns_error"), std::string::npos);
    EXPECT_NE(answer.find("does not exist"), std::string::npos);
  }
  EXPECT_EQ(world.dns.queries("nowhere.example.test"), 1);
}

TEST(EdgeDns, ASilentServerIs504WithinTheTimeout) {
  World world({{"slow.example.test", {.silent_a = true, .silent_aaaa = true}}},
              [](Runtime&, ProxySettings& s) { s.dns.timeout = 300ms; });
  const auto start = SteadyClock::now();
  EXPECT_TRUE(ask(world.gateway, "slow.example.test:443")
                  .starts_with("HTTP/1.1 504 Name Resolution Timeout"));
  EXPECT_LT(SteadyClock::now() - start, 2s);
}

TEST(EdgeDns, OneSilentFamilyDelaysOnlyByTheResolutionDelay) {
  World world({{"half.example.test", {.a = {"127.0.0.1"}, .silent_aaaa = true}}});
  Target target;
  const auto start = SteadyClock::now();
  EXPECT_TRUE(ask(world.gateway, with_port("half.example.test", target.port()))
                  .starts_with("HTTP/1.1 200 "));
  EXPECT_LT(SteadyClock::now() - start, 1s);  // the look-up's own patience is 2 s
}

TEST(EdgeDns, TheNextAddressIsTriedAfterARefusal) {
  // Nobody listens on the target's port at 127.0.0.9; nor does ::1, which the guard forbids anyway.
  World world({{"two.example.test", {.a = {"127.0.0.9", "127.0.0.1"}, .aaaa = {"::1"}}}});
  Target target;
  EXPECT_TRUE(ask(world.gateway, with_port("two.example.test", target.port()))
                  .starts_with("HTTP/1.1 200 "));
}

TEST(EdgeDns, TheGuardJudgesWhatANameResolvesTo) {
  World world({{"rebind.example.test", {.a = {"169.254.169.254"}, .ttl = 0}}});
  EXPECT_TRUE(ask(world.gateway, "rebind.example.test:80")
                  .starts_with("HTTP/1.1 403 Destination Address Prohibited"));
  // Of several addresses only the permitted ones are dialled.
  Target target;
  world.dns.set("mixed.example.test", {.a = {"169.254.169.254", "127.0.0.1"}});
  EXPECT_TRUE(ask(world.gateway, with_port("mixed.example.test", target.port()))
                  .starts_with("HTTP/1.1 200 "));
}

TEST(EdgeDns, TheTtlIsKeptAndThenTheNameIsAskedAgain) {
  World world({{"move.example.test", {.a = {"127.0.0.1"}, .ttl = 1}}});
  Target target;
  const std::string authority = with_port("move.example.test", target.port());
  const auto start = SteadyClock::now();  // the answer's time begins before its client hears of it
  EXPECT_TRUE(ask(world.gateway, authority).starts_with("HTTP/1.1 200 "));
  while (world.dns.queries("move.example.test") < 2 && SteadyClock::now() - start < 5s) {
    EXPECT_TRUE(ask(world.gateway, authority).starts_with("HTTP/1.1 200 "));
    target.accept().close();
  }
  EXPECT_EQ(world.dns.queries("move.example.test"), 2);
  EXPECT_GE(SteadyClock::now() - start, 900ms);
}

TEST(EdgeDns, AChangeOfServersTakesEffectWhileALookUpRuns) {
  World world({{"slow.example.test", {.silent_a = true, .silent_aaaa = true}}});
  NameServer other({{"slow.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  const std::string authority = with_port("slow.example.test", target.port());
  Peer waiting = world.gateway.client();
  ASSERT_TRUE(waiting.send_all(connect_request(authority)));
  while (world.dns.queries("slow.example.test") == 0)
    std::this_thread::yield();
  world.gateway.apply([&](Runtime&, ProxySettings& s) { s.dns.servers = {other.address()}; });
  EXPECT_TRUE(waiting.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(ask(world.gateway, authority).starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(other.queries("slow.example.test"), 1);
}

TEST(EdgeDns, WhereAnswersCameFromIsCounted) {
  World world({{"db.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  for (int i = 0; i < 3; ++i)
    ask(world.gateway, with_port("db.example.test", target.port()));
  for (int i = 0; i < 2; ++i)
    ask(world.gateway, "nowhere.example.test:443");
  ask(world.gateway, "127.0.0.1:" + std::to_string(target.port()));
  const DnsCounts counts = world.gateway.stats().dns;
  EXPECT_EQ(counts.miss, 2U);
  EXPECT_EQ(counts.hit, 2U);
  EXPECT_EQ(counts.negative, 1U);
  EXPECT_EQ(counts.entries, 2U);
}

}  // namespace
}  // namespace oceanid::proxy::test
