// Our own answers to plain requests, and whether the client may ask again behind them.
#include "edge_support.hpp"
#include "proxy/edge/authenticator.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Stay {
  Gateway gateway;
  Target target;
  std::uint16_t dead = unused_port();
  Peer client;
  explicit Stay(const std::function<void(Runtime&, ProxySettings&)>& change = {})
      : gateway(change), client(gateway.client()) {}

  std::string refused(const std::string& method = "GET") const {
    return method + " http://" + loopback(dead) + "/ HTTP/1.1\r\nHost: a\r\n";
  }
  // The head of an answer with a Content-Length; its content is read.
  std::string answer() {
    std::string head = client.recv_head();
    const auto at = head.find("Content-Length: ");
    if (at != std::string::npos) client.recv_exact(std::stoul(head.substr(at + 16)));
    return head;
  }
  // The connection carries one more request.
  bool still_serves() {
    if (!client.send_all("GET http://" + loopback(target.port()) +
                         "/next HTTP/1.1\r\nHost: a\r\n\r\n"))
      return false;
    Peer origin = target.accept();
    return origin.recv_head().starts_with("GET /next ") &&
           origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") &&
           client.recv_head().starts_with("HTTP/1.1 200 ");
  }
  // Our answer, and nothing behind it.
  std::string last_answer() { return client.recv_all(); }
};

TEST(EdgeHttpStay, ARefusalLeavesTheConnection) {
  Stay x;
  ASSERT_TRUE(x.client.send_all(x.refused() + "\r\n"));
  const std::string head = x.answer();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 502 ")) << head;
  EXPECT_TRUE(has(head, "\r\nConnection: keep-alive\r\n")) << head;
  EXPECT_TRUE(x.still_serves());
}

TEST(EdgeHttpStay, TheContentOfARefusedRequestIsNotReadAsTheNextOne) {
  const std::string hidden = "GET http://192.0.2.1/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
  for (const std::string& content :
       {"Content-Length: " + std::to_string(hidden.size()) + "\r\n\r\n" + hidden,
        "Transfer-Encoding: chunked\r\n\r\n" + fmt::format("{:x}", hidden.size()) + "\r\n" +
            hidden + "\r\n0\r\nX: y\r\n\r\n"}) {
    Stay x;
    const std::string request = x.refused("POST") + content;
    ASSERT_TRUE(x.client.send_all(request.substr(0, request.size() - 10)));
    ASSERT_TRUE(x.client.send_all(request.substr(request.size() - 10)));
    EXPECT_TRUE(has(x.answer(), "\r\nConnection: keep-alive\r\n"));
    EXPECT_TRUE(x.still_serves()) << content;
  }
}

TEST(EdgeHttpStay, ALongContentEndsTheConnection) {
  Stay known;
  ASSERT_TRUE(known.client.send_all(known.refused("PUT") + "Content-Length: 65537\r\n\r\nsome"));
  EXPECT_TRUE(has(known.client.recv_head(), "\r\nConnection: close\r\n"));
  Stay chunked;
  ASSERT_TRUE(chunked.client.send_all(chunked.refused("PUT") +
                                      "Transfer-Encoding: chunked\r\n\r\n186a0\r\n" +
                                      std::string(100'000, 'x') + "\r\n0\r\n\r\n"));
  EXPECT_TRUE(has(chunked.last_answer(), "\r\nConnection: close\r\n"));
}

TEST(EdgeHttpStay, WhatLeavesDoubtEndsTheConnection) {
  const auto ends = [](const std::string& method, const std::string& rest) {
    Stay x;
    EXPECT_TRUE(x.client.send_all(x.refused(method) + rest));
    return has(x.last_answer(), "\r\nConnection: close\r\n");
  };
  EXPECT_TRUE(ends("GET", "Connection: close\r\n\r\n"));
  // Will it send its content, now that there is an answer?
  EXPECT_TRUE(ends("PUT", "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_TRUE(ends("PUT", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX"));
  Stay old;
  ASSERT_TRUE(
      old.client.send_all("GET http://" + loopback(old.dead) + "/ HTTP/1.0\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(has(old.last_answer(), "\r\nConnection: close\r\n"));
}

TEST(EdgeHttpStay, AFaultyHeadEndsTheConnection) {
  Stay x;
  ASSERT_TRUE(x.client.send_all("GET http://a.test/ HTTP/1.1\r\n\r\n"));  // no Host
  EXPECT_TRUE(has(x.last_answer(), "\r\nConnection: close\r\n"));
}

TEST(EdgeHttpStay, ARejectedConnectEndsTheConnection) {
  Stay x;
  ASSERT_TRUE(x.client.send_all(connect_request(loopback(x.dead)) + "GET http://" +
                                loopback(x.target.port()) + "/ HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(has(x.last_answer(), "\r\nConnection: close\r\n"));
  EXPECT_TRUE(x.target.accept_would_block());
}

TEST(EdgeHttpStay, WhatWeAnswerOurselvesLeavesTheConnection) {
  Stay x;
  ASSERT_TRUE(x.client.send_all("OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nno"));
  EXPECT_TRUE(has(x.answer(), "\r\nConnection: keep-alive\r\n"));
  ASSERT_TRUE(
      x.client.send_all("TRACE http://a.test/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
                        "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT_TRUE(has(x.answer(), "message/http"));
  EXPECT_TRUE(has(x.last_answer(), "\r\nConnection: close\r\n"));
}

TEST(EdgeHttpStay, CredentialsComeOnTheSameConnection) {
  class OnlyLs : public Authenticator {
   public:
    awaitable<std::optional<std::string>> verify(std::string user, std::string password) override {
      if (user == "ls" && password == "open sesame") co_return user;
      co_return std::nullopt;
    }
  };
  Stay x([](Runtime& runtime, ProxySettings&) { runtime.users = std::make_shared<OnlyLs>(); });
  const std::string ask = "GET http://" + loopback(x.target.port()) + "/ HTTP/1.1\r\nHost: a\r\n";
  ASSERT_TRUE(x.client.send_all(ask + "\r\n"));
  const std::string head = x.answer();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 407 ")) << head;
  EXPECT_TRUE(has(head, "\r\nProxy-Authenticate: Basic ")) << head;
  ASSERT_TRUE(x.client.send_all(ask + "Proxy-Authorization: Basic bHM6b3BlbiBzZXNhbWU=\r\n\r\n"));
  Peer origin = x.target.accept();
  EXPECT_FALSE(has(origin.recv_head(), "Proxy-Authorization"));
  ASSERT_TRUE(origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(x.answer().starts_with("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace oceanid::proxy::test
