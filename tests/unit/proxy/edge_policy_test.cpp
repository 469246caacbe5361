// Roles, limits and passwords through a running gateway.
#include "proxy/edge/password_users.hpp"
#include "tests/unit/proxy/edge_name_server.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

using namespace std::chrono_literals;

Role role(std::string name, std::vector<std::string> allow, std::vector<std::string> deny = {}) {
  Role out;
  out.name = std::move(name);
  out.allow = std::move(allow);
  out.deny = std::move(deny);
  return out;
}

std::string status(Gateway& gateway, const std::string& authority,
                   const std::string& from = "127.0.0.1", const std::string& fields = {}) {
  Peer client = gateway.client(from);
  EXPECT_TRUE(client.send_all("CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n" +
                              fields + "\r\n"));
  std::string head = client.recv_head();
  client.reset();  // not FIN: the target, which nobody serves, would leave the tunnel half open
  return head;
}

TEST(EdgePolicy, ADeniedDestinationIsToldTheRule) {
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.policy.roles = {role("ls", {"*"}, {"127.0.0.0/8"})};
  });
  Peer client = gateway.client();
  client.send_all(connect_request(loopback(target.port())));
  const std::string answer = client.recv_all();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 403 Denied By Policy\r\n")) << answer;
  EXPECT_TRUE(answer.contains("refused by proxy.policy.roles.ls.deny: 127.0.0.0/8")) << answer;
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgePolicy, RulesForAddressesHoldAfterResolution) {
  NameServer names({{"inside.test", {.a = {"127.0.0.1"}}}, {"outside.test", {.a = {"127.0.0.9"}}}});
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.dns.servers = {names.address()};
    settings.policy.roles = {role("ls", {"127.0.0.1", "outside.test"}, {"127.0.0.9"})};
  });
  const std::string port = ":" + std::to_string(target.port());
  EXPECT_TRUE(status(gateway, "inside.test" + port).starts_with("HTTP/1.1 200 "));
  const std::string refused = status(gateway, "outside.test" + port);
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 403 Denied By Policy")) << refused;
  EXPECT_TRUE(refused.contains("proxy.policy.roles.ls.deny: 127.0.0.9")) << refused;
}

TEST(EdgePolicy, ReportLetsThrough) {
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.policy.roles = {role("ls", {"elsewhere.test"})};
    settings.policy.roles[0].action = RoleAction::report;
  });
  EXPECT_TRUE(status(gateway, loopback(target.port())).starts_with("HTTP/1.1 200 "));
}

TEST(EdgePolicy, ARolesTunnelsAndRateAreLimited) {
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    Role few = role("few", {"*"});
    few.sources = {Prefix::parse("127.0.0.2").value()};
    few.limits.tunnels = 2;
    Role slow = role("slow", {"*"});
    slow.sources = {Prefix::parse("127.0.0.3").value()};
    slow.limits.rate_per_second = 3;
    settings.policy.roles = {few, slow};
  });
  const std::string authority = loopback(target.port());
  Peer one = gateway.client("127.0.0.2");
  Peer two = gateway.client("127.0.0.2");
  EXPECT_TRUE(connect_through(one, authority).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(connect_through(two, authority).starts_with("HTTP/1.1 200 "));
  const std::string third = status(gateway, authority, "127.0.0.2");
  EXPECT_TRUE(third.starts_with("HTTP/1.1 429 Too Many Tunnels In This Role\r\n")) << third;
  EXPECT_TRUE(third.contains("\r\nRetry-After: ")) << third;
  one.reset();
  ASSERT_TRUE(gateway.eventually([](const StatsSnapshot& s) { return s.tunnels_open == 1; }));
  EXPECT_TRUE(status(gateway, authority, "127.0.0.2").starts_with("HTTP/1.1 200 "));

  int refused = 0;
  for (int i = 0; i < 8; ++i)
    refused += status(gateway, authority, "127.0.0.3")
                   .starts_with("HTTP/1.1 429 Too Many Requests In This Role");
  EXPECT_GE(refused, 4);
  EXPECT_TRUE(status(gateway, authority).starts_with("HTTP/1.1 200 "));  // nobody else's
}

TEST(EdgePolicy, ARolesBandwidthIsSharedByItsTunnels) {
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    Role slow = role("slow", {"*"});
    slow.limits.bandwidth_bits = 8'000'000;  // 1 MB/s
    settings.policy.roles = {slow};
  });
  Tunnel first = open_tunnel(gateway, target);
  Tunnel second = open_tunnel(gateway, target);
  const std::string bytes = pattern(1'500'000, 7);
  const auto began = std::chrono::steady_clock::now();
  const auto pass = [&bytes](Tunnel& tunnel) {
    std::thread sender([&] { EXPECT_TRUE(tunnel.server.send_all(bytes)); });
    EXPECT_EQ(tunnel.client.recv_exact(bytes.size()), bytes);
    sender.join();
  };
  std::thread other([&] { pass(second); });
  pass(first);
  other.join();
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(took, 1900ms);  // 3 MB, of which 1 MB was saved up
  EXPECT_LE(took, 4s);
}

TEST(EdgePolicy, ALimitedTunnelPassesItsEndOn) {
  Target target;
  Gateway gateway([&](Runtime&, ProxySettings& settings) {
    settings.policy.roles = {role("slow", {"*"})};
    settings.policy.roles[0].limits.bandwidth_bits = 800'000;
  });
  Tunnel tunnel = open_tunnel(gateway, target);
  const std::string bytes = pattern(150'000, 3);
  EXPECT_TRUE(tunnel.client.send_all(bytes));
  tunnel.client.finish_sending();
  EXPECT_EQ(tunnel.server.recv_all(), bytes);
  EXPECT_TRUE(tunnel.server.send_all("goodbye"));
  tunnel.server.close();
  EXPECT_EQ(tunnel.client.recv_all(), "goodbye");
}

constexpr const char* bcrypt = "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW";
constexpr const char* sha512 =
    "$6$saltsalt$e/5XKibXPLqVcfjpD.ouauaJrAOL5V0uo80Lt7n7EbRdRiCx3HbQ90yjOHr.G0T.mx79PEMRy8nmtr0qSY"
    "hQp1";
constexpr const char* sha256 = "$5$saltsalt$yrhPKxCqiWcCE9h0g86j6Ugz7SDFdFm.BjU.d8RaQnC";
constexpr const char* basic_ls = "Proxy-Authorization: Basic bHM6b3BlbiBzZXNhbWU=\r\n";
constexpr const char* basic_five = "Proxy-Authorization: Basic Zml2ZTpvcGVuIHNlc2FtZQ==\r\n";
constexpr const char* basic_six = "Proxy-Authorization: Basic c2l4Om9wZW4gc2VzYW1l\r\n";
constexpr const char* basic_wrong = "Proxy-Authorization: Basic bHM6d3Jvbmc=\r\n";
constexpr const char* basic_nobody = "Proxy-Authorization: Basic bm9ib2R5OndlbGw=\r\n";

struct WithUsers {
  std::shared_ptr<PasswordUsers> users = std::make_shared<PasswordUsers>();
  Target target;
  Gateway gateway;
  WithUsers()
      : gateway([this](Runtime& runtime, ProxySettings& settings) {
          users->set(parse_users(std::string("ls:") + bcrypt + "\nfive:" + sha256 +
                                 "\nsix:" + sha512 + "\n"));
          runtime.users = users;
          Role ls = role("ls", {"*"});
          ls.users = {"ls"};
          settings.policy.roles = {ls};
        }) {}
  std::string ask(const std::string& fields, const std::string& from = "127.0.0.1") {
    return status(gateway, loopback(target.port()), from, fields);
  }
};

TEST(EdgeAuthentication, PasswordsOfEveryHashAreTaken) {
  WithUsers test;
  for (const char* fields : {basic_ls, basic_five, basic_six})
    EXPECT_TRUE(test.ask(fields).starts_with("HTTP/1.1 200 ")) << fields;
  ASSERT_TRUE(test.gateway.eventually(
      [](const StatsSnapshot& s) { return s.requests.contains({"ok", "ls"}); }));
}

TEST(EdgeAuthentication, WithoutProofTheAnswerIs407AndSaysHow) {
  WithUsers test;
  const std::string bare = test.ask("");
  EXPECT_TRUE(bare.starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n")) << bare;
  EXPECT_TRUE(
      bare.contains("\r\nProxy-Authenticate: Basic realm=\"oceanid\", charset=\"UTF-8\"\r\n"))
      << bare;
  for (const char* fields : {basic_wrong, basic_nobody}) {
    const std::string answer = test.ask(fields);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 407 Proxy Authentication Failed\r\n")) << answer;
    EXPECT_TRUE(answer.contains("\r\nProxy-Authenticate: Basic ")) << answer;
  }
  EXPECT_TRUE(test.ask("Proxy-Authorization: Bearer x\r\n")
                  .starts_with("HTTP/1.1 407 Proxy Authentication Required\r\n"));
  EXPECT_TRUE(test.target.accept_would_block());
}

TEST(EdgeAuthentication, ARightPasswordIsHashedOnce) {
  WithUsers test;
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(test.ask(basic_ls).starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(test.users->hashed(), 1U);
  test.users->set(parse_users(std::string("other:") + bcrypt + "\n"));
  EXPECT_TRUE(test.ask(basic_ls).starts_with("HTTP/1.1 407 ")) << "a removed user is remembered";
}

TEST(EdgeAuthentication, WhoIsWrongTooOftenWaitsAndOthersDoNot) {
  WithUsers test;
  ASSERT_TRUE(test.ask(basic_ls).starts_with("HTTP/1.1 200 "));
  std::string last;
  for (int i = 0; i < 14; ++i)
    last = test.ask(basic_wrong);
  EXPECT_TRUE(last.starts_with("HTTP/1.1 429 Too Many Wrong Passwords\r\n")) << last;
  EXPECT_TRUE(test.ask(basic_ls).starts_with("HTTP/1.1 200 ")) << "proven before";
  EXPECT_TRUE(test.ask(basic_six, "127.0.0.2").starts_with("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace oceanid::proxy::test
