#include "tests/unit/proxy/edge_support.hpp"

#include <cerrno>

#include <gtest/gtest.h>

#include <sys/resource.h>

namespace oceanid::proxy::test {
namespace {

std::string status_line(const std::string& answer) {
  return answer.substr(0, answer.find("\r\n"));
}

// The whole answer and the proof that the gateway closed behind it.
std::string refused(Peer& client, std::string_view request) {
  EXPECT_TRUE(client.send_all(request));
  const std::string answer = client.recv_all();
  EXPECT_EQ(client.last_error(), 0) << "closed by a reset, not by FIN";
  return answer;
}

std::string refused(Gateway& gateway, std::string_view request) {
  Peer client = gateway.client();
  return refused(client, request);
}

TEST(EdgeRefusal, MalformedHeadsAreAnsweredAndTheConnectionEnds) {
  Gateway gateway;
  const std::string_view heads[] = {
      "CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
      "CONNECT 127.0.0.1:99999 HTTP/1.1\r\nHost: a\r\n\r\n",
      "CONNECT http://127.0.0.1:80/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
      "CONNECT 127.0.0.1:80 HTTP/1.1\nHost: 127.0.0.1\n\n",
      "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
      "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: other.example:x\r\n\r\n",
      "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03",
      "\x05\x01\x01",
  };
  for (const auto head : heads)
    EXPECT_TRUE(refused(gateway, head).starts_with("HTTP/1.1 400 ")) << head;
}

TEST(EdgeRefusal, NothingBehindARefusedConnectIsReadAsARequest) {
  Gateway gateway;
  Target target;
  const std::string answer = refused(gateway, "CONNECT 127.0.0.1:" + std::to_string(unused_port()) +
                                                  " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" +
                                                  connect_request(loopback(target.port())));
  EXPECT_EQ(status_line(answer), "HTTP/1.1 502 Connection Refused By Destination");
  EXPECT_EQ(answer.find("HTTP/1.1 ", 1), std::string::npos) << "a second answer";
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeRefusal, AClientThatSendsALotStillReadsTheAnswer) {
  Gateway gateway;
  Peer client = gateway.client();
  std::string request =
      "POST https://example.com/ HTTP/1.1\r\nHost: example.com\r\n"
      "Content-Length: 150000\r\n\r\n";
  request += pattern(150'000, 1);
  EXPECT_EQ(status_line(refused(client, request)), "HTTP/1.1 400 Scheme Not Supported");
}

TEST(EdgeRefusal, ASlowHeadIsTimedOutHoweverItDrips) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.head = 200ms; });
  Peer client = gateway.client();
  const auto start = SteadyClock::now();
  std::string answer;
  while (answer.empty() && SteadyClock::now() - start < 5s) {
    if (!client.send_all("C")) break;  // a method that never ends, a byte at a time
    std::this_thread::yield();
    if (!client.nothing_to_read()) answer = client.recv_all();
  }
  // A drip this fast ends as a method that is too long; slower, as a timeout. Both close.
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 ")) << answer;
  Peer silent_after_start = gateway.client();
  const std::string timed_out = refused(silent_after_start, "CONNECT ");
  EXPECT_EQ(status_line(timed_out), "HTTP/1.1 408 Request Head Timeout");
}

TEST(EdgeRefusal, AHeadInSingleBytesIsReadAsAnyOther) {
  Gateway gateway;
  Target target;
  Peer client = gateway.client();
  for (const char byte : connect_request(loopback(target.port())))
    ASSERT_TRUE(client.send_all(std::string_view(&byte, 1)));
  EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
}

TEST(EdgeRefusal, HeadLimitsHold) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.limits.head_bytes = 1000; });
  const std::string answer =
      refused(gateway, "CONNECT 127.0.0.1:1 HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n");
  EXPECT_EQ(status_line(answer), "HTTP/1.1 431 Request Head Too Large");
}

TEST(EdgeRefusal, ClientsOutsideTheListAreRefused) {
  Gateway gateway(
      [](Runtime&, ProxySettings& s) { s.clients = {Prefix::parse("127.0.0.2/32").value()}; });
  Target target;
  EXPECT_EQ(status_line(refused(gateway, connect_request(loopback(target.port())))),
            "HTTP/1.1 403 Client Not Allowed");
  Peer allowed = gateway.client("127.0.0.2");
  EXPECT_TRUE(connect_through(allowed, loopback(target.port())).starts_with("HTTP/1.1 200 "));
}

TEST(EdgeRefusal, TheGuardRefusesAndIsCounted) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.guard.allow.clear(); });
  Target target;
  const std::string answer = refused(gateway, connect_request(loopback(target.port())));
  EXPECT_EQ(status_line(answer), "HTTP/1.1 403 Destination Address Prohibited");
  EXPECT_NE(answer.find("error=destination_ip_prohibited"), std::string::npos);
  EXPECT_TRUE(target.accept_would_block());
  EXPECT_EQ(gateway.stats().guard_denied.at("loopback"), 1U);
  EXPECT_EQ(status_line(refused(gateway, connect_request("169.254.169.254:80"))),
            "HTTP/1.1 403 Destination Address Prohibited");
  EXPECT_EQ(status_line(refused(gateway, connect_request("[::ffff:169.254.169.254]:80"))),
            "HTTP/1.1 403 Destination Address Prohibited");
}

TEST(EdgeRefusal, PortsOutsideTheListAreRefused) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.connect_ports = {443}; });
  EXPECT_EQ(status_line(refused(gateway, connect_request("127.0.0.1:25"))),
            "HTTP/1.1 403 Port Not Allowed");
}

TEST(EdgeRefusal, ARefusingTargetIs502WithItsReason) {
  Gateway gateway;
  const std::string answer = refused(gateway, connect_request(loopback(unused_port())));
  EXPECT_EQ(status_line(answer), "HTTP/1.1 502 Connection Refused By Destination");
  EXPECT_NE(answer.find("Proxy-Status: oceanid; error=connection_refused; next-hop=\"127.0.0.1:"),
            std::string::npos);
  EXPECT_TRUE(gateway.eventually([](const auto& s) {
    const auto found = s.requests.find({"connection_refused", "default"});
    return found != s.requests.end() && found->second == 1;
  }));
}

TEST(EdgeRefusal, ATargetThatDoesNotAnswerIs504) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.timeouts.connect = 200ms; });
  // A full backlog (Linux queues one more than asked for) drops further SYNs, as a black hole does.
  Target deaf(0);
  const Peer fill = Peer::connect(deaf.port());
  EXPECT_EQ(status_line(refused(gateway, connect_request(loopback(deaf.port())))),
            "HTTP/1.1 504 Connection Timeout");
}

TEST(EdgeRefusal, TheTunnelLimitIs503WithRetryAfterAndIsGivenBack) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.limits.tunnels = 1; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  const std::string answer = refused(gateway, connect_request(loopback(target.port())));
  EXPECT_EQ(status_line(answer), "HTTP/1.1 503 Too Many Tunnels");
  EXPECT_NE(answer.find("\r\nRetry-After: "), std::string::npos);
  EXPECT_EQ(gateway.stats().shed.at("tunnel_limit"), 1U);
  tunnel.client.close();
  tunnel.server.close();
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  open_tunnel(gateway, target);
}

TEST(EdgeRefusal, TheClientLimitHoldsForEachAddress) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.limits.per_client = 1; });
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  EXPECT_EQ(status_line(refused(gateway, connect_request(loopback(target.port())))),
            "HTTP/1.1 429 Too Many Tunnels From This Client");
  Peer other = gateway.client("127.0.0.3");
  EXPECT_TRUE(connect_through(other, loopback(target.port())).starts_with("HTTP/1.1 200 "));
}

TEST(EdgeRefusal, ARefusedRequestGivesItsSlotBack) {
  Gateway gateway([](Runtime&, ProxySettings& s) { s.limits.tunnels = 1; });
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(status_line(refused(gateway, connect_request(loopback(unused_port())))),
              "HTTP/1.1 502 Connection Refused By Destination");
}

TEST(EdgeRefusal, ACrowdThatNeverAsksMakesRoomForOthers) {
  Gateway gateway([](Runtime& r, ProxySettings&) { r.budget.lobby.connections = 8; });
  Target target;
  std::vector<Peer> crowd;
  for (int i = 0; i < 20; ++i) {
    crowd.push_back(gateway.client("127.0.0.3"));
    ASSERT_TRUE(crowd.back().send_all("CONNECT "));
  }
  EXPECT_EQ(status_line(crowd.front().recv_head()), "HTTP/1.1 503 Gateway Overloaded");
  EXPECT_TRUE(gateway.eventually([](const auto& s) {
    const auto found = s.shed.find("overloaded");
    return found != s.shed.end() && found->second >= 12;
  }));
  Peer other = gateway.client();
  EXPECT_TRUE(connect_through(other, loopback(target.port())).starts_with("HTTP/1.1 200 "));
  // The youngest of the crowd still has its place.
  EXPECT_TRUE(crowd.back().send_all(loopback(target.port()) + " HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_EQ(status_line(crowd.back().recv_head()), "HTTP/1.1 200 Connection Established");
}

TEST(EdgeRefusal, OutOfDescriptorsItAnswersAndRecovers) {
  Gateway gateway;
  Target target;
  Tunnel tunnel = open_tunnel(gateway, target);
  std::vector<Peer> waiting;
  for (int i = 0; i < 3; ++i)
    waiting.emplace_back(UniqueFd(::socket(AF_INET, SOCK_STREAM, 0)));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // No descriptor above the highest one in use: accept4 fails with EMFILE from here on.
  std::vector<UniqueFd> filler;
  const rlimit tight{.rlim_cur = static_cast<rlim_t>(waiting.back().fd()) + 1,
                     .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  while (true) {
    UniqueFd fd(::dup(0));
    if (!fd) break;
    filler.push_back(std::move(fd));
  }
  const NativeAddress gateway_address =
      to_native({IpAddress::parse("127.0.0.1").value(), gateway.port()});
  ASSERT_EQ(::connect(waiting[0].fd(), gateway_address.get(), gateway_address.length), 0);
  EXPECT_TRUE(waiting[0].recv_all().starts_with("HTTP/1.1 503 Gateway Overloaded"));
  EXPECT_GE(gateway.stats().shed.at("overloaded"), 1U);
  ASSERT_TRUE(tunnel.client.send_all("still here"));
  EXPECT_EQ(tunnel.server.recv_exact(10), "still here");
  filler.clear();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  open_tunnel(gateway, target);
}

TEST(EdgeRefusal, APortCheckLeavesNoTrace) {
  Gateway gateway;
  gateway.client().close();
  Target target;
  open_tunnel(gateway, target);
  EXPECT_TRUE(gateway.eventually([](const auto& s) { return s.tunnels_open == 0; }));
  EXPECT_EQ(gateway.stats().requests.size(), 1U);  // the tunnel's own "ok"
}

}  // namespace
}  // namespace oceanid::proxy::test
