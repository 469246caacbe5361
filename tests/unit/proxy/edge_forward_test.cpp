#include "proxy/core/proxy_header.hpp"
#include "tests/unit/proxy/edge_name_server.hpp"
#include "tests/unit/proxy/edge_tls_support.hpp"

#include <cerrno>

#include <gtest/gtest.h>

namespace oceanid::proxy::test {
namespace {

ForwardSettings forward_to(std::vector<std::uint16_t> ports) {
  ForwardSettings out;
  out.name = "warehouse";
  for (const auto port : ports)
    out.to.push_back({"127.0.0.1", port});
  return out;
}

void expect_reset(Peer& peer) {
  EXPECT_EQ(peer.recv_some(), "");
  EXPECT_EQ(peer.last_error(), ECONNRESET);
}

void no_guard_exception(Runtime&, ProxySettings& settings) {
  settings.guard.allow.clear();  // loopback is forbidden to CONNECT; a forward's word counts more
}

TEST(EdgeForward, CarriesBytesWithoutAGuard) {
  Target target;
  Gateway gateway(no_guard_exception, {forward_to({target.port()})});
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = target.accept();
  ASSERT_TRUE(client.send_all("SELECT 1"));
  EXPECT_EQ(server.recv_exact(8), "SELECT 1");
  ASSERT_TRUE(server.send_all("1"));
  server.finish_sending();
  EXPECT_EQ(client.recv_all(), "1");
  EXPECT_EQ(gateway.stats().forward_open.at("warehouse"), 1U);
  EXPECT_EQ(gateway.stats().tunnels_open, 0U);
  client.close();
  EXPECT_TRUE(
      gateway.eventually([](const auto& s) { return s.forward_open.at("warehouse") == 0; }));
}

TEST(EdgeForward, AServerMaySpeakFirst) {
  Target target;
  Gateway gateway({}, {forward_to({target.port()})});
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = target.accept();
  ASSERT_TRUE(server.send_all("220 hello"));
  EXPECT_EQ(client.recv_exact(9), "220 hello");
}

TEST(EdgeForward, TargetsAreTriedInOrder) {
  Target second;
  Gateway gateway({}, {forward_to({unused_port(), second.port()})});
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = second.accept();
  ASSERT_TRUE(client.send_all("x"));
  EXPECT_EQ(server.recv_exact(1), "x");
}

TEST(EdgeForward, WithNoTargetLeftTheClientIsReset) {
  Gateway gateway({}, {forward_to({unused_port()})});
  Peer client = Peer::connect(gateway.forward_port(0));
  expect_reset(client);
  EXPECT_TRUE(gateway.eventually([](const auto& s) {
    const auto found = s.requests.find({"connection_refused", "default"});
    return found != s.requests.end() && found->second == 1;
  }));
}

TEST(EdgeForward, ItsOwnClientsListCounts) {
  Target target;
  ForwardSettings forward = forward_to({target.port()});
  forward.clients = {Prefix::parse("127.0.0.5/32").value()};
  Gateway gateway({}, {forward});
  Peer stranger = Peer::connect(gateway.forward_port(0));
  expect_reset(stranger);
  EXPECT_TRUE(target.accept_would_block());
  Peer known = Peer::connect(gateway.forward_port(0), "127.0.0.5");
  Peer server = target.accept();
  ASSERT_TRUE(known.send_all("x"));
  EXPECT_EQ(server.recv_exact(1), "x");
}

TEST(EdgeForward, ItsLimitsHold) {
  Target target;
  ForwardSettings forward = forward_to({target.port()});
  forward.max_connections = 2;
  forward.per_client = 1;
  Gateway gateway({}, {forward});
  Peer one = Peer::connect(gateway.forward_port(0));
  Peer one_server = target.accept();
  Peer same = Peer::connect(gateway.forward_port(0));
  expect_reset(same);
  Peer two = Peer::connect(gateway.forward_port(0), "127.0.0.6");
  Peer two_server = target.accept();
  Peer three = Peer::connect(gateway.forward_port(0), "127.0.0.7");
  expect_reset(three);
  EXPECT_EQ(gateway.stats().shed.at("client_limit"), 1U);
  EXPECT_EQ(gateway.stats().shed.at("tunnel_limit"), 1U);
}

TEST(EdgeForward, AReloadChangesTheTargetOfALiveListener) {
  Target before;
  Target after;
  Gateway gateway({}, {forward_to({before.port()})});
  Peer old_client = Peer::connect(gateway.forward_port(0));
  Peer old_server = before.accept();
  gateway.apply([&](Runtime& runtime, ProxySettings&) {
    runtime.forwards[0].to = {{"127.0.0.1", after.port()}};
  });
  Peer new_client = Peer::connect(gateway.forward_port(0));
  Peer new_server = after.accept();
  ASSERT_TRUE(new_client.send_all("new"));
  EXPECT_EQ(new_server.recv_exact(3), "new");
  ASSERT_TRUE(old_client.send_all("old"));  // the reload left it alone
  EXPECT_EQ(old_server.recv_exact(3), "old");
}

TEST(EdgeForward, NamesAreResolved) {
  NameServer dns({{"p.example.test", {.a = {"127.0.0.1"}}}});
  Target target;
  ForwardSettings forward;
  forward.name = "db";
  forward.to = {{"p.example.test", target.port()}};
  Gateway gateway([&](Runtime&, ProxySettings& s) { s.dns.servers = {dns.address()}; }, {forward});
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = target.accept();
  ASSERT_TRUE(client.send_all("x"));
  EXPECT_EQ(server.recv_exact(1), "x");
}

TEST(EdgeForward, TellsTheTargetTheClient) {
  Target target;
  ForwardSettings forward = forward_to({target.port()});
  forward.proxy_protocol = true;
  Gateway gateway({}, {forward});
  Peer client = Peer::connect(gateway.forward_port(0), "127.0.0.5");
  Peer server = target.accept();
  ASSERT_TRUE(client.send_all("hello"));
  const std::string start = server.recv_exact(16 + 12 + 7);
  const auto header = read_proxy_header(start);
  ASSERT_EQ(header.state, ProxyHeaderRead::State::done) << header.problem;
  ASSERT_TRUE(header.header.has_value());
  EXPECT_EQ(header.header->source.to_string(), "127.0.0.5:" + std::to_string(client.local_port()));
  EXPECT_EQ(header.header->destination.to_string(), loopback(gateway.forward_port(0)));
  EXPECT_EQ(server.recv_exact(5), "hello");
  EXPECT_EQ(gateway.stats().bytes_up, 5U);
}

bool is_up(const StatsSnapshot& stats, std::uint16_t port) {
  return stats.forward_targets.at({"warehouse", loopback(port)});
}

// A database that answers each SSLRequest with what the test says.
void answer_probe(Target& target, std::string_view answer) {
  Peer probe = target.accept();
  EXPECT_EQ(probe.recv_exact(8), std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8));
  probe.send_all(answer);
}

TEST(EdgeForward, ATargetThatDoesNotAnswerItsProbeIsTriedLast) {
  Target first;
  Target second;
  ForwardSettings forward = forward_to({first.port(), second.port()});
  forward.probe = ForwardProbe::postgres;
  Gateway gateway([](Runtime& r, ProxySettings&) { r.probe_interval = 30ms; }, {forward});
  const auto probe_until = [&](std::string_view answer, bool up) {
    while (is_up(gateway.stats(), first.port()) != up) {
      answer_probe(first, answer);
      answer_probe(second, "N");
    }
  };
  EXPECT_TRUE(is_up(gateway.stats(), first.port()));
  probe_until("junk", false);
  EXPECT_TRUE(is_up(gateway.stats(), second.port()));
  const auto reached = [&](Target& wanted) {
    Peer client = Peer::connect(gateway.forward_port(0));
    client.send_all("SELECT 1");
    for (;;) {  // probes go on meanwhile
      Peer server = wanted.accept();
      if (server.recv_exact(8) == "SELECT 1") return true;
      server.send_all(&wanted == &first ? "S" : "N");
    }
  };
  EXPECT_TRUE(reached(second));
  probe_until("S", true);
  EXPECT_TRUE(reached(first));
}

TEST(EdgeForward, AFailedConnectionMakesATargetTheLast) {
  const std::uint16_t nobody = unused_port();
  Target second;
  ForwardSettings forward = forward_to({nobody, second.port()});
  forward.probe = ForwardProbe::tcp;
  Gateway gateway({}, {forward});
  EXPECT_TRUE(is_up(gateway.stats(), nobody));
  Peer client = Peer::connect(gateway.forward_port(0));
  Peer server = second.accept();
  EXPECT_TRUE(gateway.eventually([&](const auto& s) { return !is_up(s, nobody); }));
  EXPECT_TRUE(is_up(gateway.stats(), second.port()));
  gateway.apply([](Runtime& runtime, ProxySettings&) { runtime.forwards.clear(); });
  EXPECT_TRUE(gateway.stats().forward_targets.empty());
}

TEST(EdgeForward, ATlsProbeCompletesAHandshake) {
  TestAuthority authority("authority");
  const Pem pem = authority.issue("db.test");
  ListenerSettings listener;
  listener.bind = SocketAddress::parse("127.0.0.1:1").value();
  listener.tls = ListenerTls{"cert.pem", "key.pem", std::nullopt, std::nullopt};
  Gateway behind(
      [&](Runtime& r, ProxySettings& s) {
        s.listeners = {listener};
        r.secrets = std::make_shared<const Secrets>(
            Secrets{{"cert.pem", pem.certificate}, {"key.pem", pem.key}});
      },
      {}, listener);
  Target silent;
  ForwardSettings forward = forward_to({behind.port(), silent.port()});
  forward.probe = ForwardProbe::tls;
  Gateway gateway(
      [](Runtime& r, ProxySettings& s) {
        r.probe_interval = 30ms;
        s.timeouts.connect = 300ms;
      },
      {forward});
  EXPECT_TRUE(gateway.eventually([&](const auto& s) { return !is_up(s, silent.port()); }));
  EXPECT_TRUE(is_up(gateway.stats(), behind.port()));
}

}  // namespace
}  // namespace oceanid::proxy::test
