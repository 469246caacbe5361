// Plain HTTP through a real Server: what reaches the origin, what comes back, and who is kept
// waiting for whom.
#include "edge_support.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

std::string url(const Target& target, const std::string& path = "/") {
  return "http://" + loopback(target.port()) + path;
}
std::string get(const Target& target, const std::string& path = "/") {
  return "GET " + url(target, path) + " HTTP/1.1\r\nHost: " + loopback(target.port()) + "\r\n\r\n";
}
bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

struct Exchange {
  Gateway gateway;
  Target target;
  Peer client;
  Peer origin;
  Exchange() : client(gateway.client()) {}
  // Sends a request and gives the head that the origin has received.
  std::string ask(const std::string& request) {
    EXPECT_TRUE(client.send_all(request));
    origin = target.accept();
    return origin.recv_head();
  }
};

TEST(EdgeHttp, ARequestIsForwardedAndTheConnectionsAreUsedAgain) {
  Exchange x;
  const std::string head = x.ask(get(x.target, "/a?b"));
  EXPECT_TRUE(head.starts_with("GET /a?b HTTP/1.1\r\nHost: " + loopback(x.target.port()) + "\r\n"))
      << head;
  EXPECT_TRUE(has(head, "\r\nVia: 1.1 ")) << head;
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
  const std::string answer = x.client.recv_head();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
  EXPECT_TRUE(has(answer, "\r\nConnection: keep-alive\r\n")) << answer;
  EXPECT_EQ(x.client.recv_exact(5), "hello");

  ASSERT_TRUE(x.client.send_all(get(x.target, "/second")));
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET /second "));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 204 No Content\r\n\r\n"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 204 "));
  EXPECT_TRUE(x.target.accept_would_block());
  EXPECT_TRUE(x.gateway.eventually([](const auto& s) {
    const auto found = s.requests.find({"ok", "default"});
    return found != s.requests.end() && found->second == 2;
  }));
}

TEST(EdgeHttp, PipelinedRequestsAreAnsweredInOrder) {
  Exchange x;
  x.ask(get(x.target, "/1") + get(x.target, "/2"));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"));
  x.client.recv_head();
  EXPECT_EQ(x.client.recv_exact(1), "1");
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET /2 "));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"));
  x.client.recv_head();
  EXPECT_EQ(x.client.recv_exact(1), "2");
}

TEST(EdgeHttp, ContentOfAKnownLengthGoesBothWays) {
  Exchange x;
  const std::string content = pattern(300'000, 7);
  const std::string head =
      x.ask("POST " + url(x.target) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
  EXPECT_TRUE(has(head, "\r\nContent-Length: 300000\r\n"));
  std::thread sender([&] { EXPECT_TRUE(x.client.send_all(content)); });
  EXPECT_EQ(x.origin.recv_exact(content.size()), content);
  sender.join();
  std::thread answerer([&] {
    EXPECT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + content));
  });
  x.client.recv_head();
  EXPECT_EQ(x.client.recv_exact(content.size()), content);
  answerer.join();
}

TEST(EdgeHttp, ChunksArePutOnAnew) {
  Exchange x;
  const std::string head = x.ask("POST " + url(x.target) +
                                 " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "5;ext=1\r\nhello\r\n0\r\nDigest: x\r\n\r\n");
  EXPECT_TRUE(has(head, "\r\nTransfer-Encoding: chunked\r\n"));
  const std::string expected = "5\r\nhello\r\n0\r\nDigest: x\r\n\r\n";
  EXPECT_EQ(x.origin.recv_exact(expected.size()), expected);
  ASSERT_TRUE(x.origin.send_all(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n"));
  EXPECT_TRUE(has(x.client.recv_head(), "\r\nTransfer-Encoding: chunked\r\n"));
  EXPECT_EQ(x.client.recv_exact(13), "3\r\nabc\r\n0\r\n\r\n");
  // The client may ask again.
  ASSERT_TRUE(x.client.send_all(get(x.target)));
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET / "));
}

TEST(EdgeHttp, AnEndByCloseBecomesChunks) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.0 200 OK\r\n\r\nall of it"));
  x.origin.close();
  EXPECT_TRUE(has(x.client.recv_head(), "\r\nTransfer-Encoding: chunked\r\n"));
  EXPECT_EQ(x.client.recv_exact(19), "9\r\nall of it\r\n0\r\n\r\n");
}

TEST(EdgeHttp, AnOldClientGetsAnEndByClose) {
  Exchange x;
  x.ask("GET " + url(x.target) + " HTTP/1.0\r\n\r\n");
  ASSERT_TRUE(x.origin.send_all(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
  const std::string head = x.client.recv_head();
  EXPECT_FALSE(has(head, "Transfer-Encoding")) << head;
  EXPECT_TRUE(has(head, "\r\nConnection: close\r\n")) << head;
  EXPECT_EQ(x.client.recv_all(), "abc");
}

TEST(EdgeHttp, InterimResponsesPass) {
  Exchange x;
  x.ask("PUT " + url(x.target) +
        " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 100 Continue\r\n\r\n"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 100 "));
  ASSERT_TRUE(x.client.send_all("ok"));
  EXPECT_EQ(x.origin.recv_exact(2), "ok");
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 201 "));
}

TEST(EdgeHttp, AnEarlyAnswerIsPassedOnAndEndsTheConnection) {
  Exchange x;
  x.ask("POST " + url(x.target) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome");
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno"));
  const std::string head = x.client.recv_head();
  EXPECT_TRUE(head.starts_with("HTTP/1.1 413 "));
  EXPECT_TRUE(has(head, "\r\nConnection: close\r\n")) << head;
  EXPECT_EQ(x.client.recv_all(), "no");
}

TEST(EdgeHttp, AnIdleConnectionThatDiedIsReplaced) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  x.client.recv_head();
  ASSERT_TRUE(x.client.send_all(get(x.target, "/again")));
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET /again "));  // taken from the pool
  x.origin.close();                                              // and gone without an answer
  x.origin = x.target.accept();
  EXPECT_TRUE(x.origin.recv_head().starts_with("GET /again "));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(x.client.recv_exact(2), "ok");
}

TEST(EdgeHttp, APostIsNotRepeated) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  x.client.recv_head();
  ASSERT_TRUE(x.client.send_all("POST " + url(x.target) +
                                " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_TRUE(x.origin.recv_head().starts_with("POST "));
  x.origin.close();
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 502 "));
  EXPECT_TRUE(x.target.accept_would_block());
}

TEST(EdgeHttp, ABrokenChunkEndsTheRequestWhileTheOriginWaits) {
  Exchange x;
  x.ask("POST " + url(x.target) +
        " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX");
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 400 "));
}

TEST(EdgeHttp, AClientThatLeavesWithinItsRequestEndsIt) {
  Exchange x;
  x.ask("POST " + url(x.target) + " HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_EQ(x.origin.recv_exact(4), "half");
  x.client.close();
  EXPECT_EQ(x.origin.recv_all(), "");
}

TEST(EdgeHttp, ARefusedHeadHasNoContent) {
  Gateway gateway;
  Peer client = gateway.client();
  ASSERT_TRUE(
      client.send_all("HEAD https://a.test/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT_TRUE(client.recv_all().ends_with("\r\n\r\n"));
}

TEST(EdgeHttp, AnUpgradeBecomesATunnel) {
  Exchange x;
  const std::string head =
      x.ask("GET " + url(x.target, "/chat") +
            " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_TRUE(has(head, "\r\nUpgrade: websocket\r\nConnection: upgrade\r\n")) << head;
  ASSERT_TRUE(
      x.origin.send_all("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: "
                        "websocket\r\n\r\nfirst"));
  EXPECT_TRUE(x.client.recv_head().starts_with("HTTP/1.1 101 "));
  EXPECT_EQ(x.client.recv_exact(5), "first");
  ASSERT_TRUE(x.client.send_all("up"));
  EXPECT_EQ(x.origin.recv_exact(2), "up");
  x.client.finish_sending();
  EXPECT_EQ(x.origin.recv_all(), "");
  ASSERT_TRUE(x.origin.send_all("down"));
  EXPECT_EQ(x.client.recv_exact(4), "down");
}

TEST(EdgeHttp, HalfAResponseDoesNotLookWhole) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"));
  x.origin.close();
  x.client.recv_head();
  EXPECT_EQ(x.client.recv_exact(10), "half");
  EXPECT_NE(x.client.last_error(), 0);
}

TEST(EdgeHttp, AResponseThatSaysTwoThingsIsA502) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all(
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"));
  const std::string answer = x.client.recv_head();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502 ")) << answer;
  EXPECT_TRUE(has(answer, "reason=bad_response")) << answer;
}

TEST(EdgeHttp, WhatIsNotForwardedSaysWhy) {
  Gateway gateway;
  Target target;
  const auto answer = [&](std::string request) {
    Peer client = gateway.client();
    request.insert(request.size() - 2, "Connection: close\r\n");
    EXPECT_TRUE(client.send_all(request));
    return client.recv_all();
  };
  EXPECT_TRUE(has(answer("GET https://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n"),
                  "reason=scheme_not_supported"));
  EXPECT_TRUE(has(answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "reason=bad_target"));
  EXPECT_TRUE(has(answer("GET " + url(target) +
                         " HTTP/1.1\r\nHost: a\r\nVia: 1.1 styx.oceanid, 1.1 test.oceanid, "
                         "1.1 .oceanid, 1.1 node.oceanid\r\n\r\n"),
                  "loop_detected"));
  EXPECT_TRUE(
      answer("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\nAllow: "));
  const std::string trace = answer(
      "TRACE " + url(target) + " HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: secret\r\n\r\n");
  EXPECT_TRUE(has(trace, "Content-Type: message/http")) << trace;
  EXPECT_FALSE(has(trace, "secret")) << trace;
  EXPECT_TRUE(target.accept_would_block());
}

TEST(EdgeHttp, ConnectMayFollowAPlainRequest) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  x.client.recv_head();
  EXPECT_TRUE(connect_through(x.client, loopback(x.target.port())).starts_with("HTTP/1.1 200 "));
  Peer server = x.target.accept();
  ASSERT_TRUE(x.client.send_all("hi"));
  EXPECT_EQ(server.recv_exact(2), "hi");
}

TEST(EdgeHttp, AnIdleClientDoesNotHoldUpTheEnd) {
  Exchange x;
  x.ask(get(x.target));
  ASSERT_TRUE(x.origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
  x.client.recv_head();
  const auto began = std::chrono::steady_clock::now();
  x.gateway.drain(30s);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
  EXPECT_EQ(x.client.recv_all(), "");
}

}  // namespace
}  // namespace oceanid::proxy::test
