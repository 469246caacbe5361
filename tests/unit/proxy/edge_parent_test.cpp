// Clients' connections through a parent proxy whose words the test writes.
#include "proxy/edge/explain.hpp"
#include "tests/unit/proxy/edge_name_server.hpp"
#include "tests/unit/proxy/edge_support.hpp"

#include <future>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

constexpr const char* secret = "Basic dTpzZXNhbWU=";  // u:sesame

ParentProxy parent_at(std::uint16_t port) {
  return {{"127.0.0.1", port}, secret};
}

class EdgeParent : public testing::Test {
 protected:
  EdgeParent()
      : gateway([&](Runtime& runtime, ProxySettings& settings) {
          runtime.node = "here";
          settings.dns.servers = {names.address()};
          settings.dns.timeout = 1s;
          settings.parent = parent_at(target.port());
        }) {}

  // The head that the parent gets; answers it with these bytes.
  std::string serve(std::string_view answer) {
    parent = target.accept();
    std::string head = parent.recv_head();
    EXPECT_TRUE(parent.send_all(answer));
    return head;
  }

  // What a client hears when the parent says this.
  std::string hear(std::string_view answer) {
    Peer client = gateway.client();
    EXPECT_TRUE(client.send_all(connect_request("here.test:443")));
    serve(answer);
    std::string heard = client.recv_all();
    EXPECT_FALSE(heard.contains("sesame") || heard.contains("dTpzZXNhbWU")) << heard;
    return heard;
  }

  NameServer names{{{"here.test", {.a = {"127.0.0.1"}}},
                    {"mixed.test", {.a = {"127.0.0.1", "169.254.169.254"}}},
                    {"far.test", {.exists = false}}}};
  Target target;  // the parent's listening socket
  Gateway gateway;
  Peer parent;  // its side of the last connection
};

TEST_F(EdgeParent, ATunnelIsAskedForByNameAndCarriesEveryByte) {
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("here.test:443") + "early"));
  const std::string head =
      serve("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwelcome");
  EXPECT_EQ(head,
            "CONNECT here.test:443 HTTP/1.1\r\nHost: here.test:443\r\nVia: 1.1 here.oceanid\r\n"
            "Proxy-Authorization: Basic dTpzZXNhbWU=\r\n\r\n");
  const std::string answer = client.recv_head();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_TRUE(answer.contains("next-hop=\"" + loopback(target.port()) + "\"")) << answer;
  EXPECT_EQ(client.recv_exact(7), "welcome");
  EXPECT_EQ(parent.recv_exact(5), "early");
  ASSERT_TRUE(client.send_all("more"));
  client.finish_sending();
  EXPECT_EQ(parent.recv_all(), "more");
  ASSERT_TRUE(parent.send_all("after your end"));
  parent.close();
  EXPECT_EQ(client.recv_all(), "after your end");
  EXPECT_TRUE(gateway.eventually([](const StatsSnapshot& s) { return s.tunnels_open == 0; }));
  EXPECT_EQ(gateway.stats().bytes_up, 9U);
  EXPECT_EQ(gateway.stats().bytes_down, 21U);
}

TEST_F(EdgeParent, ItsHeadMayComeInPieces) {
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("here.test:443")));
  serve("HTTP/1.0 200");
  for (const char* piece : {" Connection", " established\r\nA: b\r\n", "\r", "\nx"})
    ASSERT_TRUE(parent.send_all(piece));
  EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(client.recv_exact(1), "x");
}

TEST_F(EdgeParent, ItsAnswersHaveReasonsOfTheirOwn) {
  struct Case {
    const char* said;
    const char* heard;
    const char* status;
  };
  for (const Case& one : {
           Case{"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
                "HTTP/1.1 502 Parent Proxy Refuses Our Credentials\r\n", "; received-status=407"},
           Case{"HTTP/1.1 403 No\r\n\r\n", "HTTP/1.1 403 Denied By Parent Proxy\r\n",
                "; received-status=403"},
           Case{"HTTP/1.1 502 No\r\n\r\n", "HTTP/1.1 502 Parent Proxy Could Not Connect\r\n",
                "; received-status=502"},
           Case{"HTTP/1.1 503 No\r\nRetry-After: 17\r\n\r\n",
                "HTTP/1.1 503 Parent Proxy Cannot Connect Now\r\n", "\r\nRetry-After: 17\r\n"},
           Case{"HTTP/1.1 504 No\r\n\r\n", "HTTP/1.1 504 Parent Proxy Timeout\r\n",
                "; received-status=504"},
           Case{"SSH-2.0-hello\r\n", "HTTP/1.1 502 Malformed Answer From Parent Proxy\r\n",
                "reason=parent_bad_answer"},
           Case{"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
                "HTTP/1.1 502 Malformed Answer From Parent Proxy\r\n", "reason=parent_bad_answer"},
       }) {
    const std::string heard = hear(one.said);
    EXPECT_TRUE(heard.starts_with(one.heard)) << heard;
    EXPECT_TRUE(heard.contains(one.status)) << heard;
    EXPECT_TRUE(heard.contains("next-hop=\"" + loopback(target.port()) + "\"")) << heard;
  }
  const std::string endless = hear("HTTP/1.1 200 OK\r\nA: " + std::string(70'000, 'a'));
  EXPECT_TRUE(endless.contains("head is larger than the limit")) << endless;
}

TEST_F(EdgeParent, OneThatClosesIsABadAnswer) {
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("here.test:443")));
  target.accept().recv_head();
  const std::string heard = client.recv_all();
  EXPECT_TRUE(heard.starts_with("HTTP/1.1 502 Malformed Answer From Parent Proxy")) << heard;
  EXPECT_TRUE(heard.contains("closed without an answer")) << heard;
}

TEST_F(EdgeParent, OneThatIsSilentCostsNoMoreThanTheTimeToConnect) {
  gateway.apply([&](Runtime&, ProxySettings& s) { s.timeouts.connect = 600ms; });
  Peer client = gateway.client();
  const auto start = SteadyClock::now();
  ASSERT_TRUE(client.send_all(connect_request("here.test:443")));
  Peer silent = target.accept();
  const std::string heard = client.recv_all();
  EXPECT_TRUE(heard.starts_with("HTTP/1.1 504 Parent Proxy Timeout")) << heard;
  EXPECT_GE(SteadyClock::now() - start, 500ms);
  EXPECT_LT(SteadyClock::now() - start, 5s);
}

TEST_F(EdgeParent, WhatIsProhibitedNeverReachesIt) {
  for (const char* destination : {"169.254.169.254:443", "mixed.test:443"}) {
    Peer client = gateway.client();
    const std::string heard = connect_through(client, destination);
    EXPECT_TRUE(heard.starts_with("HTTP/1.1 403 Destination Address Prohibited")) << heard;
  }
  EXPECT_TRUE(target.accept_would_block());
}

TEST_F(EdgeParent, ANameThatNobodyHereKnowsIsItsOwnToResolve) {
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("far.test:443")));
  EXPECT_TRUE(serve("HTTP/1.1 200 OK\r\n\r\n").starts_with("CONNECT far.test:443 "));
  EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
}

TEST_F(EdgeParent, AnAddressOfTheSixthVersionKeepsItsBrackets) {
  gateway.apply([](Runtime&, ProxySettings& s) {
    s.guard.allow.push_back(Prefix::parse("2001:db8::/32").value());
  });
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("[2001:db8::1]:443")));
  EXPECT_TRUE(
      serve("HTTP/1.1 200 OK\r\n\r\n")
          .starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n"));
  EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 "));
}

TEST_F(EdgeParent, PlainRequestsGoThroughATunnelThatIsKept) {
  Peer client = gateway.client();
  const std::string request = "GET http://here.test/a HTTP/1.1\r\nHost: here.test\r\n\r\n";
  const std::string response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  for (const bool first : {true, false}) {
    ASSERT_TRUE(client.send_all(request));
    if (first) EXPECT_TRUE(serve("HTTP/1.1 200 OK\r\n\r\n").starts_with("CONNECT here.test:80 "));
    const std::string got = parent.recv_head();
    EXPECT_TRUE(got.starts_with("GET /a HTTP/1.1\r\n")) << got;
    EXPECT_FALSE(got.contains("Proxy-Authorization")) << got;
    ASSERT_TRUE(parent.send_all(response));
    EXPECT_TRUE(client.recv_head().starts_with("HTTP/1.1 200 OK"));
    EXPECT_EQ(client.recv_exact(2), "ok");
  }
  EXPECT_TRUE(target.accept_would_block());
}

TEST_F(EdgeParent, AReloadChangesItForNewConnections) {
  Peer old_client = gateway.client();
  ASSERT_TRUE(old_client.send_all(connect_request("here.test:443")));
  serve("HTTP/1.1 200 OK\r\n\r\n");
  ASSERT_TRUE(old_client.recv_head().starts_with("HTTP/1.1 200 "));
  Peer old_parent = std::move(parent);
  Target other;
  gateway.apply(
      [&](Runtime&, ProxySettings& s) { s.parent = ParentProxy{parent_at(other.port()).at, {}}; });
  Peer client = gateway.client();
  ASSERT_TRUE(client.send_all(connect_request("here.test:443")));
  Peer next = other.accept();
  EXPECT_FALSE(next.recv_head().contains("Proxy-Authorization"));
  ASSERT_TRUE(old_client.send_all("still"));
  EXPECT_EQ(old_parent.recv_exact(5), "still");
}

TEST_F(EdgeParent, ItsFailuresAreItsOwnAndBreakItsCircuit) {
  const std::uint16_t nobody = unused_port();
  gateway.apply([&](Runtime&, ProxySettings& s) {
    s.parent = parent_at(nobody);
    s.timeouts.connect = 100ms;
    s.breaker = {.failures = 2, .open = 5s, .open_max = 5s};
  });
  for (const char* destination : {"here.test:1", "here.test:2"}) {
    Peer client = gateway.client();
    const std::string heard = connect_through(client, destination);
    EXPECT_TRUE(heard.starts_with("HTTP/1.1 502 Parent Proxy Not Reached")) << heard;
    EXPECT_TRUE(heard.contains("Connection refused")) << heard;
  }
  Peer client = gateway.client();
  const std::string heard = connect_through(client, "here.test:3");
  EXPECT_TRUE(heard.starts_with("HTTP/1.1 503 Destination Suspended")) << heard;
  EXPECT_TRUE(heard.contains(loopback(nobody))) << heard;
  EXPECT_FALSE(heard.contains("sesame")) << heard;
}

TEST_F(EdgeParent, ARefusalOfADestinationDoesNotBreakTheCircuit) {
  gateway.apply(
      [](Runtime&, ProxySettings& s) { s.breaker = {.failures = 1, .open = 5s, .open_max = 5s}; });
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(hear("HTTP/1.1 503 No\r\n\r\n").contains("reason=parent_unavailable"));
}

TEST_F(EdgeParent, ALoopIsFoundOut) {
  Peer again = gateway.client();
  ASSERT_TRUE(
      again.send_all("CONNECT here.test:443 HTTP/1.1\r\nHost: here.test:443\r\nVia: 1.1 b, 1.1 "
                     "here.oceanid\r\n\r\n"));
  EXPECT_TRUE(again.recv_head().starts_with("HTTP/1.1 502 Forwarding Loop"));
  gateway.apply([&](Runtime&, ProxySettings& s) {
    s.parent = parent_at(gateway.port());
    s.listeners.emplace_back().bind = {IpAddress::parse("::").value(), gateway.port()};
  });
  Peer client = gateway.client();
  const std::string heard = connect_through(client, "here.test:443");
  EXPECT_TRUE(heard.starts_with("HTTP/1.1 502 Forwarding Loop")) << heard;
  EXPECT_TRUE(heard.contains("this gateway itself")) << heard;
}

TEST_F(EdgeParent, ExplainNamesItWithoutThePassword) {
  const auto explain = [&](const char* destination) {
    std::promise<Result<Explanation>> promise;
    auto answer = promise.get_future();
    gateway.run_inside([&] {
      gateway.server().explain({destination, {}, {}, {}}, [&](Result<Explanation> said) {
        promise.set_value(std::move(said));
      });
    });
    EXPECT_EQ(answer.wait_for(10s), std::future_status::ready);
    return answer.get().value();
  };
  const Explanation known = explain("here.test:443");
  EXPECT_EQ(known.status, 200);
  EXPECT_EQ(known.parent, loopback(target.port()));
  EXPECT_TRUE(known.sentence.ends_with("through the parent proxy " + known.parent))
      << known.sentence;
  const Explanation unknown = explain("far.test:443");
  EXPECT_EQ(unknown.status, 200);
  EXPECT_TRUE(unknown.sentence.contains("no address here")) << unknown.sentence;
  EXPECT_EQ(explain("mixed.test:443").reason, "destination_prohibited");
}

TEST(EdgeParentForwards, StayDirect) {
  Target target;
  ForwardSettings forward;
  forward.name = "direct";
  forward.to = {{"127.0.0.1", target.port()}};
  forward.probe = ForwardProbe::none;
  Gateway gateway([](Runtime&, ProxySettings& s) { s.parent = parent_at(unused_port()); },
                  {forward});
  Peer client = Peer::connect(gateway.forward_port(0));
  ASSERT_TRUE(client.send_all("plain"));
  EXPECT_EQ(target.accept().recv_exact(5), "plain");
}

TEST(EdgeParentSocks5, GoesThroughItToo) {
  NameServer names({{"here.test", {.a = {"127.0.0.1"}}}});
  Target target;
  ListenerSettings listener;
  listener.protocol = ListenerProtocol::socks5;
  Gateway gateway(
      [&](Runtime&, ProxySettings& s) {
        s.dns.servers = {names.address()};
        s.parent = parent_at(target.port());
      },
      {}, listener);
  for (const bool granted : {true, false}) {
    Peer client = gateway.client();
    ASSERT_TRUE(client.send_all(std::string("\x05\x01\x00", 3)));
    ASSERT_EQ(client.recv_exact(2), std::string("\x05\x00", 2));
    ASSERT_TRUE(client.send_all(std::string("\x05\x01\x00\x03\x09here.test\x01\xbb", 16)));
    Peer parent = target.accept();
    EXPECT_TRUE(parent.recv_head().starts_with("CONNECT here.test:443 "));
    ASSERT_TRUE(parent.send_all(granted ? "HTTP/1.1 200 OK\r\n\r\nhi" : "HTTP/1.1 403 No\r\n\r\n"));
    EXPECT_EQ(client.recv_exact(10)[1], granted ? '\x00' : '\x02');
    if (granted) EXPECT_EQ(client.recv_exact(2), "hi");
  }
}

}  // namespace
}  // namespace oceanid::proxy::test
