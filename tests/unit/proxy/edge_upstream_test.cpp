// From a request to a connection while destinations and exits fail.
#include "tests/unit/proxy/edge_support.hpp"

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>

namespace oceanid::proxy::test {
namespace {

std::string ask(Gateway& gateway, std::uint16_t port) {
  Peer client = gateway.client();
  return connect_through(client, loopback(port));
}

UniqueFd listen_on(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const NativeAddress raw = to_native({IpAddress::parse("127.0.0.1").value(), port});
  if (::bind(fd.get(), raw.get(), raw.length) != 0 || ::listen(fd.get(), 64) != 0)
    ADD_FAILURE() << "listen: " << errno;
  return fd;
}

// An ExitState on the loopback device, or on one that does not exist.
ExitState exit_on(const std::string& name, const std::string& device) {
  ExitState out;
  out.name = name;
  out.device = IfName::parse(device).value();
  out.usable = true;
  out.ipv4 = true;
  return out;
}

void set_exits(Runtime& runtime, std::vector<ExitState> exits) {
  ExitTable table;
  table.exits = std::move(exits);
  table.active = 0;
  runtime.exits_configured = true;
  runtime.exits = std::make_shared<const ExitTable>(std::move(table));
}

TEST(EdgeUpstream, ADestinationThatKeepsFailingIsLeftAloneAndProbedAgain) {
  Gateway gateway([](Runtime&, ProxySettings& s) {
    s.timeouts.connect = 5s;
    s.breaker = {.failures = 2, .open = 2s, .open_max = 4s};
  });
  const std::uint16_t port = unused_port();
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(ask(gateway, port).starts_with("HTTP/1.1 502 Connection Refused"));
  const auto opened = SteadyClock::now();
  const std::string answer = ask(gateway, port);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 Destination Suspended After Failures")) << answer;
  EXPECT_NE(answer.find("\r\nRetry-After: 2\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("reason=breaker_open"), std::string::npos) << answer;
  EXPECT_EQ(gateway.stats().breakers_open, 1U);
  EXPECT_EQ(gateway.stats().breakers_opened, 1U);
  // Another destination is not touched by it.
  Target other;
  EXPECT_TRUE(ask(gateway, other.port()).starts_with("HTTP/1.1 200 "));

  const UniqueFd back = listen_on(port);
  std::string last;
  while (SteadyClock::now() - opened < 8s) {
    last = ask(gateway, port);
    if (last.starts_with("HTTP/1.1 200 ")) break;
    ASSERT_TRUE(last.starts_with("HTTP/1.1 503 ")) << last;
  }
  EXPECT_TRUE(last.starts_with("HTTP/1.1 200 ")) << last;
  EXPECT_GE(SteadyClock::now() - opened, 1800ms);
  EXPECT_EQ(gateway.stats().breakers_open, 0U);
}

TEST(EdgeUpstream, WhatOneLoopLearnsAboutADestinationHoldsForAll) {
  const Commons commons{nullptr, std::make_shared<BreakerBook>()};
  const auto change = [](Runtime&, ProxySettings& s) {
    s.timeouts.connect = 5s;
    s.breaker = {.failures = 2, .open = 60s, .open_max = 60s};
  };
  Gateway one(change, {}, {}, commons);
  Gateway two(change, {}, {}, commons);
  const std::uint16_t port = unused_port();
  EXPECT_TRUE(ask(one, port).starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(ask(two, port).starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(ask(one, port).starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(ask(two, port).starts_with("HTTP/1.1 503 "));
  StatsSnapshot both = one.stats();
  both += two.stats();
  EXPECT_EQ(both.breakers_open, 1U) << "one circuit, seen by two loops";
  EXPECT_EQ(both.breakers_opened, 1U);
}

// A service that restarts within half a second is not noticed by its clients.
TEST(EdgeUpstream, ARefusalIsTriedAgainForAMoment) {
  Gateway gateway;
  const std::uint16_t port = unused_port();
  Peer client = gateway.client();
  const auto start = SteadyClock::now();
  ASSERT_TRUE(client.send_all(connect_request(loopback(port))));
  while (SteadyClock::now() - start < 150ms)
    std::this_thread::yield();
  const UniqueFd back = listen_on(port);
  const std::string answer = client.recv_head();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
}

TEST(EdgeUpstream, TheNextUsableExitConnectsWhenTheFirstCannot) {
  Target target;
  Gateway gateway([](Runtime& runtime, ProxySettings&) {
    set_exits(runtime, {exit_on("first", "oc-nowhere"), exit_on("second", "lo")});
  });
  const auto start = SteadyClock::now();
  EXPECT_TRUE(ask(gateway, target.port()).starts_with("HTTP/1.1 200 "));
  EXPECT_LT(SteadyClock::now() - start, 1s);
}

TEST(EdgeUpstream, AnExitThatIsNotUsableIsNeverTheNextOne) {
  Target target;
  Gateway gateway([](Runtime& runtime, ProxySettings&) {
    ExitState idle = exit_on("second", "lo");
    idle.usable = false;
    set_exits(runtime, {exit_on("first", "oc-nowhere"), idle});
  });
  EXPECT_TRUE(ask(gateway, target.port()).starts_with("HTTP/1.1 503 No Usable Exit"));
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeUpstream, APinnedExitIsNeverLeft) {
  Target target;
  ForwardSettings forward;
  forward.name = "pinned";
  forward.to = {{"127.0.0.1", target.port()}};
  forward.exit = {{"first"}};
  Gateway gateway(
      [](Runtime& runtime, ProxySettings&) {
        set_exits(runtime, {exit_on("first", "oc-nowhere"), exit_on("second", "lo")});
      },
      {forward});
  Peer client = Peer::connect(gateway.forward_port(0));
  EXPECT_EQ(client.recv_some(), "");
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeUpstream, OfSeveralPinnedExitsTheNextOneIsTried) {
  Target target;
  ForwardSettings forward;
  forward.name = "pinned";
  forward.to = {{"127.0.0.1", target.port()}};
  forward.exit = {{"first", "second"}};
  Gateway gateway(
      [](Runtime& runtime, ProxySettings&) {
        set_exits(runtime, {exit_on("third", "oc-nowhere"), exit_on("first", "oc-nowhere"),
                            exit_on("second", "lo")});
      },
      {forward});
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = target.accept();
  ASSERT_TRUE(server.send_all("hello"));
  EXPECT_EQ(client.recv_some(), "hello");
}

}  // namespace
}  // namespace oceanid::proxy::test
