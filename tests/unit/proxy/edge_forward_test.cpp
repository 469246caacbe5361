#include "tests/unit/proxy/edge_name_server.hpp"

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

}  // namespace
}  // namespace oceanid::proxy::test
