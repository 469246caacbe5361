// What origins do to exchanges: they end, hurry, flood or stay behind, and nothing of one exchange
// may reach another.
#include "edge_support.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Origins {
  Gateway gateway;
  Target target;
  Peer client;
  Peer origin;
  explicit Origins(const std::function<void(Runtime&, ProxySettings&)>& change = {})
      : gateway(change), client(gateway.client()) {}

  std::string request(const std::string& start, const std::string& fields = {}) const {
    const auto space = start.find(' ');
    return start.substr(0, space) + " http://" + loopback(target.port()) + start.substr(space + 1) +
           " HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  }
  std::string ask(const std::string& whole) {
    EXPECT_TRUE(client.send_all(whole));
    origin = target.accept();
    return origin.recv_head();
  }
  // Leaves one idle connection to the origin.
  void fill_pool() {
    ask(request("GET /first"));
    EXPECT_TRUE(origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    client.recv_head();
  }
  bool is_served_anew(const std::string& start) {
    origin = target.accept();
    return origin.recv_head().starts_with(start) &&
           origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") &&
           client.recv_head().starts_with("HTTP/1.1 200 ");
  }
};

TEST(EdgeHttpOrigin, AnEndBeforeTheRequestIsNotMet) {
  Origins x;
  x.fill_pool();
  x.origin.close();
  ASSERT_TRUE(x.client.send_all(x.request("GET /again")));
  EXPECT_TRUE(x.is_served_anew("GET /again "));
}

TEST(EdgeHttpOrigin, AResetBehindTheRequestIsMetByAnother) {
  for (const std::string method : {"GET", "DELETE", "PUT"}) {
    Origins x;
    x.fill_pool();
    ASSERT_TRUE(x.client.send_all(x.request(method + " /again")));
    EXPECT_TRUE(x.origin.recv_head().starts_with(method + " /again "));
    x.origin.reset();
    EXPECT_TRUE(x.is_served_anew(method + " /again ")) << method;
  }
}

TEST(EdgeHttpOrigin, TheAgeOfAConnectionDoesNotCountForItsSuccessor) {
  Origins x([](Runtime&, ProxySettings& settings) { settings.timeouts.connect = 500ms; });
  x.fill_pool();
  ASSERT_TRUE(x.client.send_all(x.request("GET /again")));
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET /again "));
  std::this_thread::sleep_for(700ms);  // longer than opening a connection may take
  x.origin.reset();
  EXPECT_TRUE(x.is_served_anew("GET /again "));
}

TEST(EdgeHttpOrigin, SilenceIsATimeOut) {
  Origins x([](Runtime&, ProxySettings& settings) { settings.timeouts.idle = 100ms; });
  x.ask(x.request("GET /"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 504 "));
  EXPECT_TRUE(x.target.accept_would_block());
}

// It would take the head of the next request for the rest of this one's content.
TEST(EdgeHttpOrigin, WhoAnsweredBeforeTheEndOfTheRequestGetsNoOther) {
  Origins x([](Runtime&, ProxySettings& settings) {
    Role slow;
    slow.name = "slow";
    slow.allow = {"*"};
    slow.limits.bandwidth_bits = 80'000;  // 10,000 bytes at once, and as many a second
    settings.policy.roles = {slow};
  });
  const std::string content(40'000, 'x');
  x.ask(x.request("PUT /", "Content-Length: 40000\r\n") + content);
  EXPECT_EQ(x.origin.recv_exact(1'000).size(), 1'000U);
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_LT(x.origin.recv_all().size(), 39'000U);  // its connection has ended
}

TEST(EdgeHttpOrigin, InterimResponsesWithoutEndAreRefused) {
  Origins x;
  x.ask(x.request("GET /"));
  std::string flood;
  for (int i = 0; i < 101; ++i)
    flood += "HTTP/1.1 103 Early Hints\r\n\r\n";
  ASSERT_TRUE(x.origin.send_all(flood));
  for (int i = 0; i < 100; ++i)
    EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 103 "));
  const std::string last = x.client.recv_head();
  EXPECT_TRUE(last.starts_with("HTTP/1.1 502 ")) << last;
  EXPECT_TRUE(has(last, "reason=bad_response")) << last;
}

TEST(EdgeHttpOrigin, AnUpgradeIsToWhatWasAskedForAndComesAfterTheRequest) {
  const auto answer = [](const std::string& fields, const std::string& upgrade) {
    Origins x;
    x.ask(x.request("GET /", "Connection: upgrade\r\nUpgrade: websocket\r\n" + fields));
    EXPECT_TRUE(x.origin.send_all("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" +
                                  upgrade + "\r\n"));
    return x.client.recv_head();
  };
  EXPECT_TRUE(answer("", "Upgrade: WebSocket\r\n").starts_with("HTTP/1.1 101 "));
  EXPECT_TRUE(answer("", "Upgrade: h2c\r\n").starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(answer("", "").starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(
      answer("Content-Length: 5\r\n", "Upgrade: websocket\r\n").starts_with("HTTP/1.1 502 "));
}

TEST(EdgeHttpOrigin, AConnectionOfFormerRulesIsNotKept) {
  Origins x;
  x.ask(x.request("GET /"));
  x.gateway.apply({});
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(x.origin.recv_all(), "");
  EXPECT_EQ(x.origin.last_error(), 0);  // its end, and not our patience's
}

class EdgeHttpPace : public testing::Test {
 protected:
  static constexpr std::size_t a_second = 1'000'000;  // bytes; as many may pass at once
  Origins x_{[](Runtime&, ProxySettings& settings) {
    Role slow;
    slow.name = "slow";
    slow.allow = {"*"};
    slow.limits.bandwidth_bits = 8 * a_second;
    settings.policy.roles = {slow};
  }};
};

TEST_F(EdgeHttpPace, ARolesBandwidthIsSharedByItsResponsesAndTunnels) {
  const std::string bytes = pattern(a_second, 5);
  Tunnel tunnel = open_tunnel(x_.gateway, x_.target);
  x_.ask(x_.request("GET /"));
  const auto began = std::chrono::steady_clock::now();
  std::thread origin([&] {
    EXPECT_TRUE(x_.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes));
  });
  std::thread other([&] { EXPECT_TRUE(tunnel.server.send_all(bytes)); });
  std::thread reader([&] { EXPECT_EQ(tunnel.client.recv_exact(bytes.size()), bytes); });
  x_.client.recv_head();
  EXPECT_EQ(x_.client.recv_exact(bytes.size()), bytes);
  for (std::thread* thread : {&origin, &other, &reader})
    thread->join();
  EXPECT_GE(std::chrono::steady_clock::now() - began, 900ms);  // one of two was saved up
}

TEST_F(EdgeHttpPace, ItHoldsForRequestsAndSmallOnesToo) {
  const std::string piece = pattern(50'000, 6);
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(x_.client.send_all(x_.request("PUT /", "Content-Length: 50000\r\n") + piece));
    if (i == 0) x_.origin = x_.target.accept();
    EXPECT_TRUE(x_.origin.recv_head().starts_with("PUT / "));
    EXPECT_EQ(x_.origin.recv_exact(piece.size()), piece);
    ASSERT_TRUE(x_.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    EXPECT_TRUE(x_.client.recv_head().starts_with("HTTP/1.1 200 "));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - began, 450ms);  // 1.5 MB, of which 1 was saved up
}

}  // namespace
}  // namespace oceanid::proxy::test
