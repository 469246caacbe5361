// The resolver by itself: files of the host, search list, expired answers, servers that fail.
#include "proxy/edge/resolver.hpp"
#include "tests/fakes/run_task.hpp"
#include "tests/unit/proxy/edge_name_server.hpp"

#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* pod_conf =
    "search prod.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

class Host {
 public:
  explicit Host(std::vector<SocketAddress> servers, const std::string& resolv_conf = "search .\n",
                std::chrono::milliseconds timeout = 2s) {
    write("hosts", "");
    write("resolv.conf", resolv_conf);
    settings.servers = std::move(servers);
    settings.timeout = timeout;
    resolver.emplace(io, ResolverOptions{settings,
                                         [](const IpAddress&) { return std::string(); },
                                         &stats,
                                         {path("hosts"), path("resolv.conf")}});
  }

  void write(const std::string& file, const std::string& text) {
    std::ofstream(path(file), std::ios::trunc) << text;
  }
  ResolveResult resolve(const std::string& name) {
    auto out = routing::run_task(io, resolver->resolve(name));
    io.restart();
    io.poll();  // what goes on in the background
    return out;
  }
  // The addresses, or what is wrong.
  std::vector<std::string> ask(const std::string& name) {
    const auto result = resolve(name);
    if (!result) return {result.error().detail};
    std::vector<std::string> out;
    for (const IpAddress& address : *result)
      out.push_back(address.to_string());
    return out;
  }
  bool ask_until(const std::string& name, const std::function<bool()>& done) {
    const auto end = SteadyClock::now() + 10s;
    while (!done() && SteadyClock::now() < end)
      last = ask(name);
    return done();
  }
  bool ask_until_it_says(const std::string& name, const std::vector<std::string>& what) {
    return ask_until(name, [&] { return last == what; });
  }
  DnsCounts counts() const { return stats.snapshot().dns; }

  asio::io_context io{1};
  StatsBook stats;
  DnsSettings settings;
  std::optional<Resolver> resolver;
  std::vector<std::string> last;

 private:
  std::string path(const std::string& file) const { return folder_.path + "/" + file; }
  routing::TemporaryDirectory folder_;
};

TEST(EdgeResolver, ANameInAPodIsSearchedFor) {
  NameServer dns({{"db.prod.svc.cluster.local", {.a = {"192.0.2.1"}}},
                  {"www.example.test", {.a = {"192.0.2.2"}, .aaaa = {"2001:db8::2"}}}});
  Host host({dns.address()}, pod_conf);
  EXPECT_THAT(host.ask("db.prod"), ElementsAre("192.0.2.1"));
  EXPECT_EQ(dns.queries("db.prod.prod.svc.cluster.local"), 1);
  EXPECT_EQ(dns.queries("db.prod.svc.cluster.local"), 1);
  EXPECT_EQ(dns.queries("db.prod.cluster.local"), 0);
  EXPECT_EQ(dns.queries("db.prod"), 0);
  EXPECT_THAT(host.ask("www.example.test"), ElementsAre("2001:db8::2", "192.0.2.2"));
  EXPECT_EQ(dns.queries("www.example.test.cluster.local"), 1);
}

TEST(EdgeResolver, ATrailingDotKeepsANameFromBeingSearchedFor) {
  NameServer dns({{"db.prod.svc.cluster.local", {.a = {"192.0.2.1"}}}});
  Host host({dns.address()}, pod_conf);
  EXPECT_THAT(host.ask("db.prod."), ElementsAre("the name does not exist"));
  EXPECT_EQ(dns.queries("db.prod"), 1);
  EXPECT_EQ(dns.queries("db.prod.svc.cluster.local"), 0);
}

TEST(EdgeResolver, AnOutageIsNotTakenForANameThatDoesNotExist) {
  NameServer dns({{"db.prod.prod.svc.cluster.local", {.fails = true}}});
  Host host({dns.address()}, pod_conf);
  EXPECT_THAT(host.ask("db.prod"), ElementsAre(HasSubstr("the name servers failed")));
  EXPECT_EQ(dns.queries("db.prod"), 1) << "another candidate might have been there";
}

TEST(EdgeResolver, ATimeOutEndsTheSearch) {
  NameServer dns(
      {{"db.svc.cluster.local", {.silent_a = true}}, {"db.cluster.local", {.a = {"192.0.2.9"}}}});
  Host host({dns.address()}, pod_conf, 350ms);
  const auto said = host.resolve("db");
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().reason, Reason::dns_timeout);
  EXPECT_EQ(dns.queries("db.cluster.local"), 0) << "it may be another host";
}

TEST(EdgeResolver, AnAddressBehindACandidateThatFailedIsAskedForAgainSoon) {
  NameServer dns({{"db.prod.prod.svc.cluster.local", {.fails = true}},
                  {"db.prod.svc.cluster.local", {.a = {"192.0.2.1"}, .ttl = 3600}}});
  Host host({dns.address()}, pod_conf);
  EXPECT_THAT(host.ask("db.prod"), ElementsAre("192.0.2.1"));
  dns.set("db.prod.prod.svc.cluster.local", {.a = {"192.0.2.2"}});
  EXPECT_TRUE(host.ask_until_it_says("db.prod", {"192.0.2.2"}));
}

TEST(EdgeResolver, TheHostsFileComesFirstAndItsChangesCount) {
  NameServer dns({{"db.test", {.a = {"192.0.2.9"}}}});
  Host host({dns.address()});
  host.write("hosts", "192.0.2.1 db.test\n2001:db8::1 db.test\n192.0.2.2 db.test\n");
  EXPECT_THAT(host.ask("db.test"), ElementsAre("2001:db8::1", "192.0.2.1", "192.0.2.2"));
  EXPECT_EQ(dns.queries("db.test"), 0);
  EXPECT_EQ(host.counts().hosts, 1U);
  host.write("hosts", "192.0.2.3 db.test\n");
  EXPECT_TRUE(host.ask_until_it_says("db.test", {"192.0.2.3"}));
  host.write("hosts", "\n");
  EXPECT_TRUE(host.ask_until_it_says("db.test", {"192.0.2.9"}));
  EXPECT_THAT(host.ask("localhost"), ElementsAre("::1", "127.0.0.1"));
}

TEST(EdgeResolver, AChangedSearchListCountsWithoutARestart) {
  NameServer dns({{"db.one.test", {.a = {"192.0.2.1"}}}, {"db.two.test", {.a = {"192.0.2.2"}}}});
  Host host({dns.address()}, "search one.test\n");
  EXPECT_THAT(host.ask("db"), ElementsAre("192.0.2.1"));
  host.write("resolv.conf", "search two.test\n");
  EXPECT_TRUE(host.ask_until_it_says("db", {"192.0.2.2"})) << "although the answer holds for 60 s";
}

TEST(EdgeResolver, WhenTheServersAreAwayAnExpiredAnswerIsUsed) {
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}, .ttl = 1}}});
  Host host({dns.address()}, "search .\n", 600ms);
  EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
  dns.silence(true);
  ASSERT_TRUE(host.ask_until("db.test", [&] { return host.counts().stale > 0; }));
  EXPECT_THAT(host.last, ElementsAre("192.0.2.1"));
  const int asked = dns.queries("db.test");
  const auto begin = SteadyClock::now();
  for (int i = 0; i < 100; ++i)
    EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
  EXPECT_LT(SteadyClock::now() - begin, 500ms) << "nobody waits any more";
  EXPECT_LE(dns.queries("db.test"), asked + 3) << "the servers are left alone";
}

TEST(EdgeResolver, ServersThatFailAreBridgedAndANameThatIsGoneIsNot) {
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}, .ttl = 1}}});
  Host host({dns.address()});
  EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
  dns.set("db.test", {.fails = true});
  ASSERT_TRUE(host.ask_until("db.test", [&] { return host.counts().stale > 0; }));
  EXPECT_THAT(host.last, ElementsAre("192.0.2.1"));

  NameServer gone({{"db.test", {.a = {"192.0.2.1"}, .ttl = 1}}});
  Host other({gone.address()});
  EXPECT_THAT(other.ask("db.test"), ElementsAre("192.0.2.1"));
  gone.set("db.test", {.exists = false});
  EXPECT_TRUE(other.ask_until_it_says("db.test", {"the name does not exist"}));
  EXPECT_EQ(other.counts().stale, 0U);
}

TEST(EdgeResolver, NobodyWaitsForANameThatIsAskedAllTheTime) {
  NameServer dns({{"hot.test", {.a = {"192.0.2.1"}, .ttl = 3}}});
  Host host({dns.address()});
  EXPECT_THAT(host.ask("hot.test"), ElementsAre("192.0.2.1"));
  dns.set("hot.test", {.a = {"192.0.2.2"}, .ttl = 3600});
  EXPECT_TRUE(host.ask_until_it_says("hot.test", {"192.0.2.2"}));
  EXPECT_EQ(host.counts().prefetch, 1U);
  EXPECT_EQ(host.counts().miss, 1U) << "the first";
  EXPECT_EQ(dns.queries("hot.test"), 2);
}

TEST(EdgeResolver, TheZoneSaysHowLongANameIsUnknown) {
  NameServer dns({{"new.test", {.exists = false, .soa_minimum = 2}}});
  Host host({dns.address()});
  const auto begin = SteadyClock::now();
  EXPECT_THAT(host.ask("new.test"), ElementsAre("the name does not exist"));
  dns.set("new.test", {.a = {"192.0.2.1"}});
  EXPECT_TRUE(host.ask_until_it_says("new.test", {"192.0.2.1"}));
  EXPECT_GE(SteadyClock::now() - begin, 1900ms);
  EXPECT_LT(SteadyClock::now() - begin, 4900ms) << "5 s would be without the zone's word";
  EXPECT_GT(host.counts().negative, 0U);
}

TEST(EdgeResolver, AReplyThatIsCutShortIsAskedForOverTcp) {
  std::vector<std::string> fifty;
  for (int i = 1; i <= 50; ++i)
    fifty.push_back("192.0.2." + std::to_string(i));
  NameServer dns({{"many.test", {.a = fifty, .truncated = true}}});
  Host host({dns.address()});
  EXPECT_EQ(host.ask("many.test"), fifty);
  EXPECT_EQ(dns.over_tcp(), 2);
}

TEST(EdgeResolver, WhatNobodyAskedForIsIgnored) {
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}, .forged = true}}});
  Host host({dns.address()});
  EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
}

TEST(EdgeResolver, TheLeastTtlOfAChainOfAliasesCounts) {
  NameServer dns({{"www.test",
                   {.a = {"192.0.2.1"},
                    .ttl = 3600,
                    .chain = {{"cdn.test", 3600}, {"edge.cdn.test", 1}, {"pop.test", 3600}}}}});
  Host host({dns.address()});
  EXPECT_THAT(host.ask("www.test"), ElementsAre("192.0.2.1"));
  dns.set("www.test", {.a = {"192.0.2.2"}});
  EXPECT_TRUE(host.ask_until_it_says("www.test", {"192.0.2.2"}));
}

TEST(EdgeResolver, ASlowFamilyIsNotWaitedForButNotLost) {
  NameServer dns({{"two.test", {.a = {"192.0.2.1"}, .aaaa = {"2001:db8::1"}, .held_aaaa = true}}});
  Host host({dns.address()}, "search .\n", 30s);
  EXPECT_THAT(host.ask("two.test"), ElementsAre("192.0.2.1"));
  dns.release();
  EXPECT_TRUE(host.ask_until_it_says("two.test", {"2001:db8::1", "192.0.2.1"}));
  EXPECT_EQ(dns.queries("two.test"), 1);
}

TEST(EdgeResolver, OneOfTwoServersIsEnough) {
  NameServer dead({});
  dead.silence(true);
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}}}});
  Host host({dead.address(), dns.address()});
  EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
  EXPECT_THAT(host.ask("nowhere.test"), ElementsAre("the name does not exist"));
  EXPECT_GT(dead.queries("db.test"), 0);
}

TEST(EdgeResolver, AServerThatNobodyRunsAnyMoreIsPassedOver) {
  std::uint16_t port = unused_port();
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}}}});
  Host host({{IpAddress::parse("127.0.0.1").value(), port}, dns.address()});
  EXPECT_THAT(host.ask("db.test"), ElementsAre("192.0.2.1"));
}

TEST(EdgeResolver, TheCacheIsBoundedAndCounted) {
  NameServer dns({{"a.test", {.a = {"192.0.2.1"}}},
                  {"b.test", {.a = {"192.0.2.2"}}},
                  {"c.test", {.a = {"192.0.2.3"}}}});
  Host host({dns.address()});
  host.settings.cache = 2;
  host.resolver->apply(host.settings);
  for (const char* name : {"a.test", "b.test", "a.test", "c.test", "a.test", "b.test"})
    host.ask(name);
  EXPECT_EQ(dns.queries("a.test"), 1);
  EXPECT_EQ(dns.queries("b.test"), 2) << "asked longest ago, it gave way";
  EXPECT_EQ(host.counts().entries, 2U);
  EXPECT_EQ(host.counts().hit, 2U);
  EXPECT_EQ(host.counts().miss, 4U);
  host.resolver.reset();
  EXPECT_EQ(host.counts().entries, 0U);
}

// The look-up is under way when `change` is called.
ResolveResult resolve_while(Host& host, NameServer& dns, const std::string& name,
                            const std::function<void()>& change) {
  std::optional<ResolveResult> out;
  asio::co_spawn(host.io, host.resolver->resolve(name),
                 [&](const std::exception_ptr&, ResolveResult result) { out = std::move(result); });
  host.io.restart();
  while (dns.queries(name) == 0)
    host.io.poll();
  change();
  const auto end = SteadyClock::now() + 10s;
  while (!out && SteadyClock::now() < end)
    host.io.run_one_for(100ms);
  return out ? *out : std::unexpected(ResolveFailure{Reason::internal_error, "it hangs"});
}

TEST(EdgeResolver, WhoWaitsIsAnsweredByTheNewServers) {
  NameServer dead({{"db.test", {.silent_a = true, .silent_aaaa = true}}});
  NameServer dns({{"db.test", {.a = {"192.0.2.1"}}}});
  Host host({dead.address()}, "search .\n", 30s);
  const auto said = resolve_while(host, dead, "db.test", [&] {
    host.settings.servers = {dns.address()};
    host.resolver->apply(host.settings);
  });
  ASSERT_TRUE(said) << said.error().detail;
  EXPECT_EQ(said->front().to_string(), "192.0.2.1");
}

TEST(EdgeResolver, WhoWaitsAtItsEndIsTold) {
  NameServer dead({{"db.test", {.silent_a = true, .silent_aaaa = true}}});
  Host host({dead.address()}, "search .\n", 30s);
  const auto said = resolve_while(host, dead, "db.test", [&] { host.resolver.reset(); });
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().detail, "the look-up's way out is gone");
}

TEST(EdgeResolver, TheEndAfterTheDelayAndBeforeTheOtherFamilyIsClean) {
  NameServer dns({{"two.test", {.a = {"192.0.2.1"}, .silent_aaaa = true}}});
  Host host({dns.address()}, "search .\n", 30s);
  EXPECT_THAT(host.ask("two.test"), ElementsAre("192.0.2.1"));
  host.resolver.reset();
}

TEST(EdgeResolver, OnionNamesAreNotAsked) {
  NameServer dns({});
  Host host({dns.address()});
  EXPECT_THAT(host.ask("hidden.onion"), ElementsAre("the name does not exist"));
  EXPECT_EQ(dns.queries("hidden.onion"), 0);
}

}  // namespace
}  // namespace oceanid::proxy::test
