#include "proxy/core/forward_head.hpp"

#include <gtest/gtest.h>

namespace oceanid::proxy {
namespace {

RequestHead request(std::string_view bytes) {
  HeadParser parser;
  EXPECT_EQ(parser.feed(bytes), HeadParser::State::done) << bytes;
  return parser.take_head();
}

TEST(AbsoluteTarget, IsReadAndMadeCanonical) {
  const auto plain = parse_absolute("http://Example.COM/a?b=c", "GET").value();
  EXPECT_EQ(plain.destination, (HostPort{"example.com", 80}));
  EXPECT_EQ(plain.host_field, "example.com");
  EXPECT_EQ(plain.origin_form, "/a?b=c");
  const auto port = parse_absolute("HTTP://example.com:8080", "GET").value();
  EXPECT_EQ(port.host_field, "example.com:8080");
  EXPECT_EQ(port.origin_form, "/");
  EXPECT_EQ(parse_absolute("http://example.com?x", "GET").value().origin_form, "/?x");
  const auto v6 = parse_absolute("http://[2001:db8::1]/", "GET").value();
  EXPECT_EQ(v6.destination, (HostPort{"2001:db8::1", 80}));
  EXPECT_EQ(v6.host_field, "[2001:db8::1]");
  EXPECT_EQ(parse_absolute("http://[2001:db8::1]:81/", "GET").value().host_field,
            "[2001:db8::1]:81");
  EXPECT_EQ(parse_absolute("http://example.com", "OPTIONS").value().origin_form, "*");
  EXPECT_EQ(parse_absolute("http://example.com/", "OPTIONS").value().origin_form, "/");
  EXPECT_EQ(parse_absolute("http://127.1/", "GET").value().destination.host, "127.0.0.1");
}

TEST(AbsoluteTarget, RefusesEverythingElse) {
  for (const auto* target :
       {"/", "*", "example.com", "example.com:80", "http:/a", "http://", "http:///a",
        "http://user@example.com/", "http://example.com/#f", "http://example.com:0/",
        "http://example.com:x/", "http://exa mple/", "http://[::1/", "http://[::1]x/"})
    EXPECT_FALSE(parse_absolute(target, "GET")) << target;
  for (const auto* target : {"https://example.com/", "ftp://example.com/", "wss://example.com/"})
    EXPECT_EQ(parse_absolute(target, "GET").error().code, Errc::unsupported) << target;
}

std::string forwarded(std::string_view bytes, ForwardedHead how = {"styx.oceanid", true, {}}) {
  const auto head = request(bytes);
  return render_request(head, parse_absolute(head.target, head.method).value(), framing_of(head),
                        how);
}

TEST(ForwardHead, TakesAwayWhatIsForThisHopAndNamesUs) {
  EXPECT_EQ(
      forwarded("GET http://a.test/x HTTP/1.1\r\nHost: other.test\r\nAccept: */*\r\n"
                "Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                "Proxy-Authorization: Basic eA==\r\nProxy-Connection: keep-alive\r\nUpgrade: "
                "h2c\r\n\r\n"),
      "GET /x HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\nVia: 1.1 styx.oceanid\r\n"
      "Connection: keep-alive\r\n\r\n");
}

TEST(ForwardHead, ConnectionCannotTakeAwayWhatIsEndToEnd) {
  const auto out = forwarded(
      "POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n"
      "Authorization: Basic eA==\r\nConnection: content-length, host, authorization\r\n\r\n");
  EXPECT_NE(out.find("Content-Length: 3\r\n"), std::string::npos);
  EXPECT_NE(out.find("Authorization: Basic eA==\r\n"), std::string::npos);
  EXPECT_NE(out.find("Host: a.test\r\n"), std::string::npos);
}

TEST(ForwardHead, FramesTheContentAnew) {
  EXPECT_NE(
      forwarded("POST http://a.test/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n")
          .find("Transfer-Encoding: chunked\r\n"),
      std::string::npos);
  EXPECT_NE(forwarded("POST http://a.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                .find("Content-Length: 0\r\n"),
            std::string::npos);
  EXPECT_EQ(forwarded("GET http://a.test/ HTTP/1.1\r\nHost: a\r\n\r\n").find("Content-Length"),
            std::string::npos);
}

TEST(ForwardHead, CountsMaxForwardsDown) {
  const auto head = request("TRACE http://a.test/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n");
  EXPECT_EQ(max_forwards(head), 3U);
  EXPECT_NE(forwarded("OPTIONS http://a.test HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n")
                .find("Max-Forwards: 2\r\n"),
            std::string::npos);
  EXPECT_EQ(
      max_forwards(request("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n")),
      std::nullopt);
}

TEST(ForwardHead, KnowsItsOwnVia) {
  const auto with = [](const char* via) {
    return request("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nVia: " + std::string(via) +
                   "\r\n\r\n");
  };
  EXPECT_TRUE(is_loop(with("1.0 fred, 1.1 styx.oceanid"), "styx.oceanid"));
  EXPECT_TRUE(is_loop(with("1.1 styx.oceanid (comment)"), "styx.oceanid"));
  EXPECT_FALSE(is_loop(with("1.1 tethys.oceanid"), "styx.oceanid"));
  EXPECT_FALSE(is_loop(with("styx.oceanid"), "styx.oceanid"));
}

TEST(ForwardHead, PassesAnUpgradeOnWhenItIsMeant) {
  const auto* bytes =
      "GET http://a.test/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: x\r\n\r\n";
  EXPECT_EQ(wanted_upgrade(request(bytes)), "websocket");
  const auto out = forwarded(bytes, {"styx.oceanid", true, "websocket"});
  EXPECT_NE(out.find("Upgrade: websocket\r\nConnection: upgrade\r\n"), std::string::npos);
  EXPECT_EQ(
      wanted_upgrade(request("GET http://a.test/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n")),
      "");
}

TEST(ForwardHead, HttpTwoInTheClearIsTakenOutOfAnUpgrade) {
  const auto wanted = [](const std::string& protocols) {
    return wanted_upgrade(
        request("GET http://a.test/ HTTP/1.1\r\nHost: a\r\n"
                "Connection: Upgrade\r\nUpgrade: " +
                protocols + "\r\n\r\n"));
  };
  EXPECT_EQ(wanted("h2c, websocket, IRC/6.9"), "websocket, IRC/6.9");
  EXPECT_EQ(wanted("websocket,H2C"), "websocket");
  EXPECT_EQ(wanted("h2c"), "");
}

TEST(ForwardHead, AnUpgradeIsAgreedWhenItWasWanted) {
  const auto agreed = [](const std::string& named) {
    ResponseParser parser;
    parser.feed("HTTP/1.1 101 Switching Protocols\r\n" + named + "\r\n");
    return agreed_upgrade(parser.take_head(), "websocket, IRC/6.9");
  };
  EXPECT_EQ(agreed("Upgrade: WebSocket\r\n"), "WebSocket");
  EXPECT_EQ(agreed("Upgrade: irc/6.9, websocket\r\n"), "irc/6.9, websocket");
  EXPECT_EQ(agreed("Upgrade: websocket, h2c\r\n"), "");
  EXPECT_EQ(agreed(""), "");
}

TEST(ForwardHead, OfResponses) {
  ResponseParser parser;
  parser.feed(
      "HTTP/1.1 200 Fine\r\nServer: s\r\nConnection: close\r\nProxy-Authenticate: x\r\n"
      "Content-Length: 5\r\nVia: 1.0 other\r\n\r\n");
  EXPECT_EQ(render_response(parser.take_head(), {Content::length, 5}, {"styx.oceanid", true, {}}),
            "HTTP/1.1 200 Fine\r\nServer: s\r\nVia: 1.0 other\r\nVia: 1.1 styx.oceanid\r\n"
            "Content-Length: 5\r\nConnection: keep-alive\r\n\r\n");
  ResponseParser head_only;
  head_only.feed("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
  EXPECT_NE(render_response(head_only.take_head(), {}, {"x", true, {}}).find("Content-Length: 5"),
            std::string::npos);
  ResponseParser empty;
  empty.feed("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(render_response(empty.take_head(), {}, {"x", true, {}}).find("Content-Length"),
            std::string::npos);
}

}  // namespace
}  // namespace oceanid::proxy
